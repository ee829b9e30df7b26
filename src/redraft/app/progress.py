"""How training tells where it is: a bar with the numbers that matter, or plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from redraft.app.show import say
from redraft.training import Progress
from redraft.training.processes import rank

EVERY = 15.0  # seconds between lines where there is no terminal


class Teller:
    """Called by the trainer with each Progress; a context, since a bar must be taken down."""

    def __init__(self) -> None:
        self._bar = None
        self._last = 0.0
        if rank() == 0 and sys.stdout.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.fields[numbers]}", style="dim"),
            )
            self._bar = Progress(*columns)
            self._task = self._bar.add_task("training", total=1.0, left="", numbers="")

    def __enter__(self) -> Teller:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        if progress.event:
            (self._bar.console.print if self._bar else say)(progress.event)
        elif self._bar:
            left = "" if progress.eta is None else f"{_clock(progress.eta)} left"
            self._bar.update(self._task, completed=progress.done, left=left, numbers=numbers(progress))
        elif time.monotonic() - self._last >= EVERY or progress.done >= 1:
            self._last = time.monotonic()
            of = f"/{progress.total}" if progress.total else ""
            left = "" if progress.eta is None else f", {_clock(progress.eta)} left"
            say(f"step {progress.step}{of}  {_clock(progress.seconds)}{left}  {numbers(progress)}")


def numbers(progress: Progress) -> str:
    """Energies of data, draft and refined; how far the chain moves; the gradient; the share of waiting."""
    v = progress.values
    parts = []
    if {"energy_data", "energy_draft", "energy_refined"} <= v.keys():
        parts.append(
            f"E data {v['energy_data']:.2f} draft {v['energy_draft']:.2f} refined {v['energy_refined']:.2f}"
        )
    if "move" in v:
        parts.append(f"move {v['move']:.3f}")
    norms = [_short(value) for key, value in v.items() if key.startswith("gradient_")]
    if norms:
        parts.append("gradients " + "/".join(norms))
    # seconds a step that it waited for its batch; the mean holds too much of the first batch's before
    if "wait" in v and progress.seconds > 0 and progress.step >= 60:
        share = min(1.0, v["wait"] * progress.step / progress.seconds)
        parts.append(f"waiting {share * 100:.0f} %")
    return "  ".join(parts)


def _short(value: float) -> str:
    """Two digits: 0.12, 3.4, 56, 7.8k, 9.1M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.2g}{name}" if abs(value) < 100 * unit else f"{value / unit:.0f}{name}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
