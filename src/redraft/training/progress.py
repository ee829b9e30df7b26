"""What a run tells, while it goes and at its end."""

from __future__ import annotations

from dataclasses import dataclass

from redraft.training.schedule import Length


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What ``report`` is called with: after a look at the steps, or when something happened (``event``)."""

    step: int  # steps done
    total: int | None  # of how many; None while a run by the clock has not fixed it
    done: float  # share of the run, in [0, 1]
    seconds: float  # of training, earlier sittings included
    eta: float | None  # seconds still to go
    values: dict[str, float]  # means of the last ~20 steps, by their names in metrics.csv
    event: str | None = None

    @staticmethod
    def at(
        step: int, seconds: float, length: Length, values: dict[str, float], event: str | None
    ) -> Progress:
        done = length.done(step, seconds)
        return Progress(
            step=step,
            total=length.total,
            done=done,
            seconds=seconds,
            eta=seconds * (1 - done) / done if done > 0 else None,
            values=values,
            event=event,
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a sitting of training ended."""

    steps: int
    seconds: float
    waiting: float  # share of this sitting's time in which the steps waited for their batch
    events: tuple[str, ...]  # what was told in this sitting
