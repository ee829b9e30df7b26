"""How long a run is, how its learning rate goes, and when it shows pictures: functions of the step."""

from __future__ import annotations

from dataclasses import dataclass

from redraft.core.errors import UsageError
from redraft.training.settings import Train

OVERTIME = 1.15  # a run by the clock ends here at the latest, in units of its minutes


def factor(step: int, total: int | None, warmup: int, decay: float) -> float:
    """The learning rate of ``step`` (from 0) as a share of its setting.

    Linear warm-up, constant to the half, then linear to ``decay``. Without a total yet: the first half.
    """
    warm = min(1.0, (step + 1) / warmup) if warmup else 1.0
    done = step / total if total else 0.0
    return warm * (1.0 - (1.0 - decay) * max(0.0, 2 * done - 1))


def shows_pictures(step: int, every: int) -> bool:
    """At 10, 20, 50, 100, ... while these are less than ``every``, then at every multiple of it."""
    if step >= every:
        return step % every == 0
    return step >= 10 and str(step).rstrip("0") in ("1", "2", "5")


@dataclass
class Length:
    """The number of steps of a run. By the clock, it is fixed at half time: twice the steps so far.

    From then on the run is as exact as one by steps, since ``total`` is saved with the checkpoint.
    """

    minutes: float | None
    total: int | None

    @classmethod
    def of(cls, cfg: Train) -> Length:
        if cfg.steps is None and cfg.minutes is None:
            raise UsageError("How long? Give --steps N or --minutes M.")
        return cls(cfg.minutes, cfg.steps)

    def fix(self, step: int, seconds: float) -> bool:
        """Fix the total when half the time is over; True when that happened just now."""
        if self.total is not None or self.minutes is None or seconds < 30 * self.minutes:
            return False
        self.total = 2 * max(step, 1)
        return True

    def over(self, step: int, seconds: float) -> bool:
        return (self.total is not None and step >= self.total) or self.late(seconds)

    def late(self, seconds: float) -> bool:
        return self.minutes is not None and seconds >= OVERTIME * 60 * self.minutes

    def done(self, step: int, seconds: float) -> float:
        """The share of the run that is done, in [0, 1]."""
        if self.total is not None:
            return min(1.0, step / self.total)
        return min(1.0, seconds / (60 * (self.minutes or 1.0)))
