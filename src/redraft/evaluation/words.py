"""What the numbers say, in sentences, each with the numbers behind it."""

from __future__ import annotations

import math
from typing import NamedTuple

from redraft.evaluation.table import NEAREST, UNCHANGED, Interval, Measure, Scores, short, show

FEW = 20  # held-out pictures below which no number decides
SETS = ("KID", "Fréchet", "precision", "recall", "density", "coverage")  # of a set of pictures


class Finding(NamedTuple):
    says: str
    behind: str  # the numbers


def findings(scores: Scores) -> list[Finding]:
    """What takes worth from numbers; then as a reader asks: better? real? true? varied? copied? scored?"""
    made = [*(Finding(s, "") for s in scores.ahead), _few(scores), *_lost(scores)]
    made += [_refinement(scores, m) for m in _of(scores, "KID", "SSIM", "PSNR", "LPIPS")]
    made += [_refinement(scores, m) for m in _agreements(scores)]
    agrees = _agreement if scores.paired else _content
    made += [_realism(scores), *(agrees(scores, m) for m in _agreements(scores))]
    made += [_diversity(scores), _memory(scores), _worth(scores), _price(scores)]
    return [f for f in made if f is not None]


def _few(scores: Scores) -> Finding | None:
    if scores.pictures >= FEW:
        return None
    return Finding(
        f"Fewer than {FEW} held-out pictures: the numbers below are a hint, not a result.",
        f"held-out pictures: {scores.pictures}",
    )


def _lost(scores: Scores) -> list[Finding]:
    """Controls that cost nothing and do as well or better, each in the measures where that is a loss."""
    every = [m for m in scores.measures if m.better in ("higher", "lower")]
    judged = [m for m in every if not m.name.startswith(("copies", "ms a picture", "MB"))]
    of_sets = [m for m in judged if m.name.split(" (")[0] in SETS]
    against = {_mean_row(scores): judged, UNCHANGED: of_sets}  # what is given agrees with itself
    # as a set, the nearest conditions' pictures are real ones
    against[NEAREST] = [m for m in judged if m not in of_sets]
    return [f for row, measures in against.items() if (f := _lost_to(scores, row, measures)) is not None]


def _lost_to(scores: Scores, row: str, measures: list[Measure]) -> Finding | None:
    lost = []
    for m in measures:
        control, best = _cell(scores, row, m.name), _cell(scores, scores.row, m.name)
        if control is None or best is None or math.isnan(control.value) or not _as_good(control, best, m):
            continue
        lost.append((m.name, f"{m.name}: {row} {show(control)}, {scores.row} {show(best)}"))
    if not lost:
        return None
    names = [name for name, _ in lost]
    where = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    says = {
        UNCHANGED: f"The given pictures, unchanged, do as well or better in {where}: nothing gained there.",
        NEAREST: f"Looking up the nearest training condition's picture does as well or better in {where}.",
    }.get(row, f"A mean picture does as well or better in {where}: do not read that alone.")
    return Finding(says, "; ".join(behind for _, behind in lost))


def _content(scores: Scores, m: Measure) -> Finding | None:
    """Agreement with given pictures that have no truth: between unrelated pictures and no change at all."""
    best, floor = _cell(scores, scores.row, m.name), _cell(scores, "real, held out", m.name)
    if best is None or floor is None:
        return None
    behind = f"{m.name}: {scores.row} {show(best)}, unrelated real pictures {show(floor)}, unchanged 1"
    if best.low <= floor.high:
        return Finding(
            f"{_who(scores).capitalize()} keep no more of what is given than unrelated pictures have.", behind
        )
    much = "most" if best.value > 0.7 else "some" if best.value > 0.3 else "little"
    return Finding(f"{_who(scores).capitalize()} keep {much} of the given pictures' content.", behind)


def _refinement(scores: Scores, m: Measure) -> Finding | None:
    a, b = _cell(scores, "draft", m.name), _cell(scores, "refined", m.name)
    if a is None or b is None:
        return None
    behind = f"{m.name}: draft {show(a)}, refined {show(b)}"
    change = scores.change.get(m.name)
    if change is not None:
        behind += f"; change picture by picture {show(change)}"
        clear, gain = not (change.low <= 0 <= change.high), change.value
    else:
        clear, gain = not a.overlaps(b), b.value - a.value
    if not clear:
        return Finding(f"Refining makes no clear difference in {m.name}: the intervals overlap.", behind)
    better = gain > 0 if m.better == "higher" else gain < 0
    return Finding(f"Refining makes {m.name} {'better' if better else 'worse'}.", behind)


def _realism(scores: Scores) -> Finding | None:
    if scores.pictures < FEW:  # wide intervals overlap whatever is shown
        return None
    for m in _of(scores, "KID"):
        best = _cell(scores, scores.row, m.name)
        real = _cell(scores, "real, training", m.name)
        if best is None or real is None:
            continue
        behind = f"{m.name}: {scores.row} {show(best)}, real training pictures {show(real)}"
        if best.low <= real.high:
            return Finding(f"By {scores.features}, {_who(scores)} cannot be told from real ones.", behind)
        return Finding(
            f"By {scores.features}, {_who(scores)} can still be told from real ones as a set.", behind
        )
    return None


def _agreement(scores: Scores, m: Measure) -> Finding | None:
    best, ceiling = _cell(scores, scores.row, m.name), _cell(scores, "real, held out", m.name)
    if best is None or ceiling is None:
        return None
    behind = f"{m.name}: {scores.row} {show(best)}, real held-out pictures {show(ceiling)}"
    mean = _cell(scores, _mean_row(scores), m.name)
    if mean is not None and _as_good(mean, best, m):
        return Finding(
            f"In {m.name} a mean picture does as well as {_who(scores)}: it says nothing of how they agree.",
            f"{behind}, mean picture {show(mean)}",
        )
    gap = best.value - ceiling.value if m.better == "higher" else ceiling.value - best.value
    if gap > 0 and not best.overlaps(ceiling):
        return Finding(
            f"{_who(scores).capitalize()} score better in {m.name} than real pictures: "
            "they are more typical than life.",
            behind,
        )
    if best.overlaps(ceiling):
        return Finding(
            f"In {m.name} {_who(scores)} cannot be told from real ones by {scores.pictures} pictures.", behind
        )
    return Finding(f"In {m.name} {_who(scores)} stay behind real ones.", behind)


def _diversity(scores: Scores) -> Finding | None:
    a, r = _cell(scores, "draft", "diversity"), _cell(scores, "refined", "diversity")
    b = _cell(scores, scores.row, "diversity")
    if b is None or math.isnan(b.value):
        return None
    behind = f"diversity, real pictures = 1: draft {show(a)}, refined {show(r)}"
    if scores.truth or not scores.paired:
        if b.value == 0:
            return Finding("This method makes one picture a condition: variants are the same.", behind)
        if b.value < 0.02:
            return Finding("The noise z is all but ignored: variants of a condition look the same.", behind)
        if b.value < 0.1:
            return Finding("The noise z changes little: variants of a condition are near copies.", behind)
        return Finding("The noise z is used: variants of a condition differ visibly.", behind)
    if b.value < 0.7:
        return Finding("Pictures of one condition are too alike beside real ones.", behind)
    if b.value > 1.2:
        return Finding("Pictures of one condition differ more than real ones do: look for noise.", behind)
    if b.value < 0.9:
        return Finding(f"Pictures of one condition differ {b.value:.0%} as much as real ones.", behind)
    return Finding("Pictures of one condition differ about as much as real ones do.", behind)


def _memory(scores: Scores) -> Finding | None:
    for m in scores.measures:
        if not m.name.startswith("copies ("):
            continue
        share = _cell(scores, scores.row, m.name)
        if share is None:
            return None
        pixels = _cell(scores, scores.row, "copies")
        real = _cell(scores, "real, held out", m.name)
        behind = f"{m.name}: {show(share)}; by pixels {show(pixels)}; real held-out pictures {show(real)}"
        if share.low > 0.05:
            return Finding(
                "Some pictures lie suspiciously near to a training picture: look at the nearest ones below.",
                behind,
            )
        return Finding("Nothing suggests that training pictures were learned by heart.", behind)
    return None


def _worth(scores: Scores) -> Finding | None:
    rho = scores.worth
    if rho is None or math.isnan(rho.value):
        return None
    behind = f"rank correlation of energy with {scores.worth_of}: {show(rho, 2)}"
    if rho.low <= 0 <= rho.high:
        return Finding("The score does not order pictures by their error: do not choose by it.", behind)
    if rho.value < 0:
        return Finding("The score points the wrong way: better scores go with larger errors.", behind)
    strength = "well" if rho.low > 0.5 else "somewhat" if rho.low > 0.2 else "weakly"
    return Finding(f"The score orders pictures {strength} by their error.", behind)


def _price(scores: Scores) -> Finding | None:
    if scores.against_time:  # which tells it without the scores: those cost more than another's draft
        return None
    a, b = _cell(scores, "draft", "ms a picture"), _cell(scores, "refined", "ms a picture")
    if a is None or b is None or not a.value:
        return None
    says = f"A refined picture takes {short(b.value / a.value, 2)} times as long as a draft."
    return Finding(says, f"draft {show(a)} ms, refined {show(b)} ms a picture")


def _of(scores: Scores, *names: str) -> list[Measure]:
    return [m for m in scores.measures if m.name.split(" (")[0] in names]


def _agreements(scores: Scores) -> list[Measure]:
    return [m for m in scores.measures if m.agreement]


def _mean_row(scores: Scores) -> str:
    return next((r for r in scores.rows if r.startswith("mean picture")), "")


def _as_good(control: Interval, made: Interval, m: Measure) -> bool:
    """Whether a control does as well or better; False where it was not measured."""
    return (control.value >= made.value) if m.better == "higher" else (control.value <= made.value)


def _cell(scores: Scores, row: str, name: str) -> Interval | None:
    return scores.rows.get(row, {}).get(name)


def _who(scores: Scores) -> str:
    """What the method makes by default: what the sentences are about."""
    return "drafts" if scores.row == "draft" else "refined pictures"
