"""Numbers with their uncertainty, and the table that they stand in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from redraft.core.rng import stream

# rows of controls
UNCHANGED = "given picture, unchanged"  # of translation without pairs
NEAREST = "nearest training condition's"


class Interval(NamedTuple):
    """A value with its 95 % interval; both ends equal the value where none is known."""

    value: float
    low: float
    high: float

    @staticmethod
    def exact(value: float) -> Interval:
        return Interval(value, value, value)

    def overlaps(self, other: Interval) -> bool:
        return self.low <= other.high and other.low <= self.high


class Point(NamedTuple):
    """Pictures after ``steps`` steps."""

    steps: int
    milliseconds: float  # a picture, in a batch
    cells: dict[str, Interval]  # by the measure's name: KID, agreements, LPIPS


def mean_interval(values: Tensor, *, rounds: int = 1000, seed: int = 0) -> Interval:
    """Mean of one value a picture [N], with the bootstrap's 95 % interval (percentiles, 1,000 draws)."""
    values = values.detach().double().cpu().flatten()
    means = values[resample(len(values), rounds, seed)].mean(1)
    return Interval(values.mean().item(), *ends(means))


def resample(n: int, rounds: int, seed: int = 0) -> Tensor:
    """Indices [rounds, n] drawn with replacement: the bootstrap's pictures."""
    return torch.randint(n, (rounds, n), generator=stream(seed, "bootstrap", n))


def ends(draws: Tensor) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of draws [B]."""
    low, high = torch.quantile(draws.double(), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


@dataclass(frozen=True)
class Measure:
    """A column: what it is called, which way is better, and what it says in a sentence."""

    name: str
    better: str  # "higher", "lower", "one" (as the real), or ""
    says: str
    digits: int = 3
    agreement: bool = False  # with the condition


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All that ``evaluate`` found out; plain values, so that JSON can hold it.

    ``rows`` maps a row (draft, refined, a control) to its cells by the measure's name. ``change`` is refined
    minus draft on the same pictures, with its own interval, for measures that have a value a picture.
    """

    features: str
    pictures: int
    variants: int
    truth: bool  # each condition has one true picture; then diversity is that of several z for it
    measures: tuple[Measure, ...]
    rows: dict[str, dict[str, Interval]]
    row: str = "refined"  # what the method makes by default, "draft" or "refined"
    change: dict[str, Interval] = field(default_factory=dict)
    worth: Interval | None = None  # rank correlation of energy and per-picture error
    worth_of: str = ""  # what that error is
    points: tuple[tuple[float, float], ...] = ()  # (energy, error) of each refined picture
    ahead: tuple[str, ...] = ()  # findings that belong before all others
    notes: tuple[str, ...] = ()
    each: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)  # a value a picture, by row
    paired: bool = True  # False: conditions are pictures that have no truth, targets are unrelated to them
    against_time: dict[str, tuple[Point, ...]] = field(default_factory=dict)  # by what the steps begin at

    @property
    def timed(self) -> dict[str, dict[str, Interval]]:
        """``against_time`` as rows of a table."""
        return {
            f"{name}, {p.steps} steps" if p.steps else name: {
                **p.cells,
                "ms a picture": Interval.exact(p.milliseconds),
            }
            for name, points in self.against_time.items()
            for p in points
        }

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {
            "rows": {row: {k: list(v) for k, v in cells.items()} for row, cells in self.rows.items()},
            "against_time": {
                name: [[p.steps, p.milliseconds, {k: list(v) for k, v in p.cells.items()}] for p in points]
                for name, points in self.against_time.items()
            },
            "change": {k: list(v) for k, v in self.change.items()},
            "worth": None if self.worth is None else list(self.worth),
            "points": [list(p) for p in self.points],
            "ahead": list(self.ahead),
            "notes": list(self.notes),
            "measures": [dataclasses.asdict(m) for m in self.measures],
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Scores:
        made = dict(values)
        made["measures"] = tuple(Measure(**m) for m in values["measures"])
        made["rows"] = {
            row: {k: Interval(*v) for k, v in cells.items()} for row, cells in values["rows"].items()
        }
        made["change"] = {k: Interval(*v) for k, v in values["change"].items()}
        made["worth"] = None if values["worth"] is None else Interval(*values["worth"])
        made["points"] = tuple((x, y) for x, y in values["points"])
        made["ahead"] = tuple(values.get("ahead", ()))
        made["notes"] = tuple(values["notes"])
        made["each"] = {
            row: {k: tuple(v) for k, v in cells.items()} for row, cells in values.get("each", {}).items()
        }
        made["against_time"] = {
            name: tuple(Point(k, ms, {m: Interval(*v) for m, v in cells.items()}) for k, ms, cells in points)
            for name, points in values.get("against_time", {}).items()
        }
        return Scores(**made)

    def markdown(self) -> str:
        """The table as Markdown, one row a system or control, intervals in brackets."""
        names = [m.name for m in self.measures]
        lines = ["| |" + "|".join(names) + "|", "|---" * (len(names) + 1) + "|"]
        for row, cells in self.rows.items():
            shown = [show(cells.get(m.name), m.digits) for m in self.measures]
            lines.append(f"|{row}|" + "|".join(shown) + "|")
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]) + "\n"


def show(cell: Interval | None, digits: int = 3) -> str:
    """A cell in ``digits`` significant digits, with its interval where it has one."""
    if cell is None or math.isnan(cell.value):
        return "–"
    if cell.low == cell.high:
        return short(cell.value, digits)
    return f"{short(cell.value, digits)} [{short(cell.low, digits)}, {short(cell.high, digits)}]"


def short(value: float, digits: int = 3) -> str:
    """At most ``digits`` significant digits, no exponent between 1e-4 and 1e6, trailing zeros kept; – for
    what is no number."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    places = max(0, min(digits - 1 - math.floor(math.log10(abs(value))), digits + 1))
    return f"{value:.{places}f}".replace("-", "−")
