"""Several methods by one protocol: values over seeds, and a recommendation in words with its reasons.

Pure functions of numbers. A method is judged by the pictures that it makes by default, its drafts or its
refined ones. Two intervals are looked at, over the pictures of a run and over the seeds, and the wider of
both decides: where those of two methods overlap there is no clear difference. Where a measure has a value a
picture, the pictures' interval is that of the difference on the same pictures, which is finer: it must leave
out 0, and the seeds must lie apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import torch

from redraft.evaluation.table import Interval, Measure, mean_interval, short, show
from redraft.evaluation.words import Finding

LEAST = 1e-4  # a difference that is smaller is rounding
LEAST_DIVERSITY = 0.1  # a spread has no interval of its own in a single run
FEW_SEEDS = 3
VARIES = 0.3  # a difference in diversity that makes a distance to one truth unequal
FEW_PICTURES = 20  # held-out pictures below which nothing is decided
FREE = ("mean picture", "nearest", "given picture")  # controls that cost nothing to make


class Over(NamedTuple):
    """A measure of one method: its mean over seeds, each seed's value, the mean interval over pictures."""

    value: float
    seeds: tuple[float, ...]
    pictures: Interval

    @staticmethod
    def of(cells: Sequence[Interval]) -> Over:
        """From the interval of each seed's run; NaN where a run has no number."""
        n = len(cells)
        value, low, high = (sum(c[i] for c in cells) / n for i in range(3))
        return Over(value, tuple(c.value for c in cells), Interval(value, low, high))

    @property
    def interval(self) -> Interval:
        """The wider of both: over pictures, and from the lowest to the highest seed."""
        low, high = min(self.pictures.low, *self.seeds), max(self.pictures.high, *self.seeds)
        return Interval(self.value, low, high)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A method with the numbers of the pictures that it makes by default."""

    name: str
    cells: Mapping[str, Over]  # by the measure's name
    seeds: int  # that were trained and measured
    failed: int = 0  # seeds that were not
    why: str = ""  # they failed
    row: str = "refined"  # which of its pictures these are, "draft" or "refined"
    each: Mapping[str, Sequence[float]] = field(default_factory=dict)  # a value a held-out picture


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to take, in a sentence, and why."""

    kind: str  # "clear", "no clear difference", "trade-off", "none"
    chosen: tuple[str, ...]  # the names between which it leaves the choice
    says: str
    reasons: tuple[Finding, ...]


def recommend(
    contenders: Sequence[Contender],
    controls: Mapping[str, Mapping[str, Interval]],
    measures: Sequence[Measure],
    pictures: int,
) -> Advice:
    """What to take, by KID, agreement, LPIPS and diversity, among methods that beat every control.

    ``controls`` are rows by name, of which those of FREE count: a method that is not clearly better than each
    of them in something is never recommended. ``pictures``: how many are held out.
    """
    relied = relied_on(measures)
    able = [c for c in contenders if c.seeds]
    fails = [_failed(c) for c in contenders if c.failed]
    if not able:
        says = "No method came to an end: see why below."
        return Advice(kind="none", chosen=(), says=says, reasons=tuple(fails))
    trials = {c.name: [_trial(c, name, row, relied) for name, row in _counting(controls)] for c in able}
    fit = [c for c in able if all(t.passed for t in trials[c.name])]
    told = [t.told for c in able for t in trials[c.name]]
    between = [*_differences(able, relied), *_one_truth(able, relied)]
    reasons = [*between, *told, *_cost(able), _reliance(relied, measures), _seeds(able, pictures), *fails]
    if fit:
        kind, best, says = _choose(fit, relied)
        if out := [c.name for c in able if c not in fit]:
            says += f" Left out: {_and(out)}, not clearly better than each control."
    else:
        kind, best = "none", []
        says = "No method can be recommended: none is clearly better than what costs nothing to make."
    if pictures < FEW_PICTURES:
        says += f" With {pictures} held-out pictures this is a hint, not a result."
    return Advice(kind=kind, chosen=tuple(c.name for c in best), says=says, reasons=tuple(reasons))


def clearly(a: Interval | None, b: Interval | None, m: Measure) -> int:
    """1 where a is clearly better than b, -1 where worse, 0 where intervals overlap or a number lacks."""
    if a is None or b is None or math.isnan(a.value) or math.isnan(b.value):
        return 0
    a, b = _upwards(a, m), _upwards(b, m)
    least = LEAST_DIVERSITY if m.name.startswith("diversity") else LEAST
    if a.low > b.high and a.value - b.value > least:
        return 1
    return -1 if b.low > a.high and b.value - a.value > least else 0


def _upwards(x: Interval, m: Measure) -> Interval:
    """The interval on a scale on which more is better."""
    if m.better == "lower":
        return Interval(-x.value, -x.high, -x.low)
    if m.better == "one":
        ends = (abs(1 - x.low), abs(1 - x.high))
        near = 0.0 if x.low <= 1 <= x.high else min(ends)
        return Interval(-abs(1 - x.value), -max(ends), -near)
    return x


def relied_on(measures: Sequence[Measure]) -> list[Measure]:
    """KID, agreement, LPIPS where there is truth, diversity; not what a mean picture does well in."""
    quality = [m for m in measures if m.agreement or m.name.split(" (")[0] in ("KID", "LPIPS")]
    return [*quality, *(m for m in measures if m.name == "diversity")]


# --- controls


class _Trial(NamedTuple):
    passed: bool
    told: Finding


def _counting(
    controls: Mapping[str, Mapping[str, Interval]],
) -> list[tuple[str, Mapping[str, Interval]]]:
    return [(name, row) for name, row in controls.items() if name.startswith(FREE)]


def _counts(m: Measure, control: str) -> bool:
    """Whether a measure says anything against a control.

    The nearest training picture is a real one, so its KID is no feat; a given picture that is handed back
    agrees with itself.
    """
    if m.name.startswith("diversity"):
        return False
    if control.startswith("nearest"):
        return not m.name.startswith("KID")
    return not (control.startswith("given") and m.agreement)


def _trial(c: Contender, control: str, row: Mapping[str, Interval], relied: Sequence[Measure]) -> _Trial:
    """A method beside a control."""
    counted = [m for m in relied if m.name in row and _counts(m, control)]
    signs = {m.name: clearly(_interval(c, m), row[m.name], m) for m in counted}
    behind = "; ".join(f"{_name(m)} {show(_interval(c, m))} against {show(row[m.name])}" for m in counted)
    wins = [_name(m) for m in counted if signs[m.name] > 0]
    losses = [_name(m) for m in counted if signs[m.name] < 0]
    who, what = _made_by(c), "the " + control + (" picture" if control.startswith("nearest") else "")
    if not counted:
        return _Trial(True, Finding(f"No measure sets {who} beside {what}.", ""))
    if wins:
        but = f", but worse in {_and(losses)}" if losses else ""
        return _Trial(True, Finding(f"{who} is clearly better than {what} in {_and(wins)}{but}.", behind))
    if losses:
        return _Trial(False, Finding(f"{who} loses to {what} in {_and(losses)}.", behind))
    return _Trial(False, Finding(f"{who} is not clearly better than {what} in anything.", behind))


# --- methods among themselves


def _choose(fit: Sequence[Contender], relied: Sequence[Measure]) -> tuple[str, list[Contender], str]:
    """The kind of advice, whom it leaves, and the sentence."""
    best = [a for a in fit if not any(_dominates(b, a, relied) for b in fit)]
    rest = [c for c in fit if c not in best]
    if len(best) == 1:
        (a,) = best
        if not rest:
            return "clear", best, f"Take {a.name}: it alone is clearly better than the controls."
        worse = [_name(m) for m in relied if any(_sign(a, b, m) < 0 for b in rest)]
        but = f"though worse in {_and(worse)}" if worse else "and clearly worse in nothing that is relied on"
        return "clear", best, f"Take {a.name}: {_wins(a, rest, relied)}, {but}."
    better = _left_behind(best, rest, relied)
    strong = {a.name: [_name(m) for m in relied if any(_sign(a, b, m) > 0 for b in best)] for a in best}
    told = [f"{name} for {_and(names)}" for name, names in strong.items() if names]
    if not told:
        says = f"No clear difference between {_and([c.name for c in best])}: the intervals overlap."
        return "no clear difference", best, says + better + _cheapest(best)
    return "trade-off", best, f"It depends on what matters: {', '.join(told)}.{better}"


def _wins(a: Contender, rest: Sequence[Contender], relied: Sequence[Measure]) -> str:
    """Than whom it is clearly better in what; those that it beats in the same measures together."""
    groups: dict[str, list[str]] = {}
    for b in rest:
        where = _and([_name(m) for m in relied if _sign(a, b, m) > 0])
        if where:
            groups.setdefault(where, []).append(b.name)
    told = [f"than {_and(names)} in {where}" for where, names in groups.items()]
    return f"it is clearly better {', '.join(told)}"


def _left_behind(best: Sequence[Contender], rest: Sequence[Contender], relied: Sequence[Measure]) -> str:
    """In what the others are clearly worse than one of the best, and better than none."""
    told = []
    for c in rest:
        over = [a for a in best if _dominates(a, c, relied)]
        in_what = [_name(m) for m in relied if any(_sign(a, c, m) > 0 for a in over)]
        told.append(f" {c.name} is clearly worse than {_and([a.name for a in over])} in {_and(in_what)}.")
    return "".join(told)


def _dominates(a: Contender, b: Contender, relied: Sequence[Measure]) -> bool:
    signs = [_sign(a, b, m) for m in relied]
    return max(signs, default=0) > 0 and min(signs) >= 0


def _sign(a: Contender, b: Contender, m: Measure) -> int:
    """1 where a is clearly better than b, -1 where worse."""
    gap = _gap(a, b, m)
    if gap is None:
        return clearly(_interval(a, m), _interval(b, m), m)
    return clearly(gap, Interval.exact(0.0), m) * abs(clearly(_seeds_of(a, m), _seeds_of(b, m), m))


def _gap(a: Contender, b: Contender, m: Measure) -> Interval | None:
    """a minus b on the same pictures, where both have a value a picture and more is better or worse."""
    mine, theirs = a.each.get(m.name, ()), b.each.get(m.name, ())
    if not mine or len(mine) != len(theirs) or m.better == "one":
        return None
    return mean_interval(torch.tensor(mine) - torch.tensor(theirs))


def _seeds_of(c: Contender, m: Measure) -> Interval:
    seeds = c.cells[m.name].seeds
    return Interval(c.cells[m.name].value, min(seeds), max(seeds))


def _differences(able: Sequence[Contender], relied: Sequence[Measure]) -> list[Finding]:
    """A sentence for each measure."""
    if len(able) < 2:
        return []
    made = []
    for m in relied:
        with_numbers = [c for c in able if _known(c, m)]
        if not with_numbers:
            continue
        behind = ", ".join(f"{_made_by(c)} {show(_interval(c, m))}" for c in with_numbers)
        behind += _picture_by_picture(with_numbers, m)
        wins = [
            f"{a.name} {_better(m)} than {_and(worse)}"
            for a in able
            if (worse := [b.name for b in able if _sign(a, b, m) > 0])
        ]
        says = f"{_title(m)}: {'; '.join(wins)}." if wins else f"{_title(m)}: no clear difference."
        made.append(Finding(says, behind))
    return made


def _one_truth(able: Sequence[Contender], relied: Sequence[Measure]) -> list[Finding]:
    """Where methods vary unequally, a distance to one truth is not the same question to them."""
    varied = {c.name: c.cells["diversity"].value for c in able if "diversity" in c.cells}
    if not varied or not any(m.name == "LPIPS" for m in relied):
        return []
    if max(varied.values()) - min(varied.values()) < VARIES:
        return []
    says = "LPIPS asks for the one true picture: a method that varies pays for each picture that is another."
    return [Finding(says, "diversity: " + ", ".join(f"{name} {short(v)}" for name, v in varied.items()))]


def _picture_by_picture(able: Sequence[Contender], m: Measure) -> str:
    told = []
    for a, b in combinations(able, 2):
        if (gap := _gap(a, b, m)) is not None:
            told.append(f"{a.name} − {b.name} {show(gap)}")
    return f"; picture by picture: {', '.join(told)}" if told else ""


def _cost(able: Sequence[Contender]) -> list[Finding]:
    """What a picture takes."""
    times = [(c.cells["ms a picture"].value, _made_by(c)) for c in able if "ms a picture" in c.cells]
    if len(times) < 2:
        return []
    (least, quick), *slower = sorted(times)
    others = [f"{who} takes {short(t / least, 2)} times as long" for t, who in slower]
    behind = ", ".join(f"{who} {short(t)} ms" for t, who in times)
    return [Finding(f"Cost: {quick} makes a picture the fastest; {', '.join(others)}.", behind)]


def _cheapest(best: Sequence[Contender]) -> str:
    times = {c.name: c.cells["ms a picture"].value for c in best if "ms a picture" in c.cells}
    if len(times) < len(best):
        return ""
    name = min(times, key=lambda n: times[n])
    return f" {name} costs least ({short(times[name])} ms a picture)."


# --- what the words rest on


def _reliance(relied: Sequence[Measure], measures: Sequence[Measure]) -> Finding:
    blurred = "PSNR and SSIM stand in the table, but favour blur: a mean picture does well in them."
    behind = blurred if any(m.name == "PSNR" for m in measures) else ""
    return Finding(f"This relies on {_and([m.name for m in relied])}.", behind)


def _seeds(able: Sequence[Contender], pictures: int) -> Finding:
    fewest = min(c.seeds for c in able)
    behind = (
        f"{pictures} held-out pictures; an interval is the wider of those over pictures and over seeds; "
        "where a measure has a value a picture, differences on the same pictures decide, if seeds lie apart"
    )
    if fewest == 1:
        one = "One seed" if all(c.seeds == 1 for c in able) else "Only one seed of a method"
        return Finding(f"{one}: what another would change is not known.", behind)
    few = ", which is few" if fewest < FEW_SEEDS else ""
    return Finding(f"Means over {fewest} seeds each{few}.", behind)


def _failed(c: Contender) -> Finding:
    if not c.seeds:
        return Finding(f"{c.name} could not be compared.", c.why)
    return Finding(f"{c.failed} of {c.seeds + c.failed} seeds of {c.name} failed.", c.why)


def _interval(c: Contender, m: Measure) -> Interval | None:
    cell = c.cells.get(m.name)
    return None if cell is None else cell.interval


def _known(c: Contender, m: Measure) -> bool:
    return m.name in c.cells and not math.isnan(c.cells[m.name].value)


def _made_by(c: Contender) -> str:
    return f"{c.name} ({c.row})"


def _better(m: Measure) -> str:
    return "clearly nearer to real variety" if m.name == "diversity" else "clearly better"


def _title(m: Measure) -> str:
    if m.agreement and m.name != "agreement":
        return f"Agreement ({m.name})"
    return m.name[0].upper() + m.name[1:]


def _name(m: Measure) -> str:
    """Without the features, which the sentence on what is relied on names."""
    return m.name.split(" (")[0]


def _and(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
