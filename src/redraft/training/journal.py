"""What is written down of a run: one line a step in metrics.csv, one line an event in events.log."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from redraft.training.checkpoint import disk_full, write_text

TIMING = ("seconds", "wait")  # the columns that two runs of the same settings need not share


class Journal:
    """Appends to the files of a run; TensorBoard events too where that package is installed.

    The first column of metrics.csv is the number of the step from 1: the checkpoint of step t comes
    after line t. A value that a step lacks is an empty cell. Only one process ``writes``.
    """

    def __init__(self, out: Path, writes: bool = True) -> None:
        self.out, self.path, self.writes = out, out / "metrics.csv", writes
        self.columns: list[str] = []
        self.smooth: dict[str, float] = {}  # exponential means of the last ~20 steps, for the progress

    @cached_property
    def _board(self) -> Any:
        """TensorBoard's writer, made with the first line: a refused run leaves nothing behind."""
        return _tensorboard(self.out) if self.writes else None

    def cut(self, step: int) -> None:
        """Drop the lines after ``step``, so that a resumed run writes them again."""
        if not self.writes or not self.path.exists():
            return
        head, *rows = self.path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
        self.columns = head.strip().split(",") if head.endswith("\n") else []
        kept = [r for r in rows if r.endswith("\n") and int(r.split(",", 1)[0]) <= step]
        write_text(self.path, "".join([head, *kept]) if self.columns else "")

    def rows(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Append one line a step; each row holds ``step``."""
        if not self.writes or not rows:
            return
        text = io.StringIO()
        if not self.columns:
            self.columns = list(dict.fromkeys(k for row in rows for k in row))
            csv.writer(text, lineterminator="\n").writerow(self.columns)
        else:
            self._widen(list(dict.fromkeys(k for row in rows for k in row if k not in self.columns)))
        for row in rows:
            csv.writer(text, lineterminator="\n").writerow([_cell(row.get(c)) for c in self.columns])
            self._remember(row)
        with disk_full(self.out), self.path.open("a", encoding="utf-8") as file:
            file.write(text.getvalue())

    def _widen(self, more: list[str]) -> None:
        """Columns that come with a new stage of the training: empty in the lines so far."""
        if more:
            head, *rows = self.path.read_text(encoding="utf-8").splitlines()
            self.columns += more
            lines = [",".join(self.columns), *(row + "," * len(more) for row in rows)]
            write_text(self.path, "\n".join(lines) + "\n")

    def event(self, step: int, sentence: str) -> None:
        """A line in events.log, which is never cut: it tells all that happened, also what was undone."""
        if not self.writes:
            return
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with disk_full(self.out), (self.out / "events.log").open("a", encoding="utf-8") as file:
            file.write(f"{stamp}  step {step}  {sentence}\n")
        if self._board:
            self._board.add_text("events", sentence, step)

    def close(self) -> None:
        if self.__dict__.get("_board"):
            self._board.close()

    def _remember(self, row: Mapping[str, float | None]) -> None:
        self.smooth = {key: value for key, value in self.smooth.items() if key in row}  # a stage that ended
        for key, value in row.items():
            if value is not None and math.isfinite(value):
                self.smooth[key] = 0.95 * self.smooth.get(key, value) + 0.05 * value
                if self._board and key != "step":
                    self._board.add_scalar(key, value, int(row["step"] or 0))


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.9g}"


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"))
