"""Drafts and refined pictures against held-out truth, always beside controls."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from redraft.core.types import Pair
from redraft.evaluation.calibration import descriptor, rank_correlation
from redraft.evaluation.cost import cost
from redraft.evaluation.distances import FewPictures, frechet, kid, manifold, nearest
from redraft.evaluation.diversity import relative_spread, variants_spread
from redraft.evaluation.features import Features
from redraft.evaluation.memory import low, memory
from redraft.evaluation.paired import psnr, rmse, ssim
from redraft.evaluation.table import NEAREST, UNCHANGED, Interval, Measure, Scores, mean_interval
from redraft.spaces.pixels import match_channels

Score = Callable[[Tensor, Tensor], Tensor]  # (pictures, conditions or truths) -> one value a picture [N]


class Drawn(Protocol):
    """What a draw returns: ``Sample`` of the methods fits."""

    @property
    def drafts(self) -> Tensor: ...
    @property
    def images(self) -> Tensor: ...
    @property
    def energies(self) -> Tensor: ...


class Draw(Protocol):
    """One picture for each of the n conditions c. Another ``variant`` is another z; ``refine`` 0 = drafts."""

    def __call__(self, c: Tensor | None, n: int, *, variant: int, refine: int | None) -> Drawn: ...


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A measure of agreement with the condition; ``score`` takes pictures and their conditions.

    It returns one value a picture [N]; with ``pool`` it may return anything with a first dimension N that
    ``pool`` turns into one interval (mean IoU is no mean over pictures).
    """

    name: str
    says: str
    score: Score
    pool: Callable[[Tensor], Interval] | None = None
    better: str = "higher"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to measure beside the distances."""

    features: Features
    agreements: Sequence[Agreement] = ()
    distance: Score | None = None  # LPIPS, where the user has it
    doubt: Score | None = None  # (x, c) -> error [N], for pictures that have no single truth
    paired: bool = True  # False: pictures as conditions have no truth, their targets are unrelated
    row: str = "refined"  # what the method makes by default, "draft" or "refined"
    refined: bool = True  # False: there is no solver, and drafts are all
    describe: Callable[[Tensor], Tensor] = descriptor  # conditions [N, ...] -> [N, D], which near ones share
    keep: Callable[[Tensor, Tensor | None], Tensor] = lambda x, c: x  # puts back what a condition fixes
    variants: int = 4
    batch: int = 64
    most: int = 2000  # held-out pairs; of training pairs all that are given


@dataclass
class _Made:
    """Pictures of one row, what they were asked to be, and what measures may be taken of them."""

    x: Tensor
    c: Tensor | None
    truth: Tensor | None = None  # the one true picture for c, where there is one
    cells: dict[str, Interval] = field(default_factory=dict)
    each: dict[str, Tensor] = field(default_factory=dict)


def evaluate(draw: Draw, train: Pair, test: Pair, asked: Asked) -> Scores:
    """All measures of drafts, refined pictures and controls on held-out pairs.

    ``train`` and ``test`` hold conditions and targets of real pairs. A picture as condition has one truth
    each (paired measures); a category or nothing has none, nor has a picture where ``asked.paired`` is
    False, and then drafts are compared as a set alone.
    """
    generator = torch.Generator().manual_seed(0)
    train, test = _some(train, len(train.target), generator), _some(test, asked.most, generator)
    c, real = test
    pictured = c is not None and c.ndim == 4
    has_truth = pictured and asked.paired
    asked = asked if asked.refined else replace(asked, row="draft")
    drafts, refined, energies = _draw_all(draw, c, len(real), asked, variant=0)
    truth = real if has_truth else None
    rows = {
        "draft": _Made(drafts, c, truth),
        **({"refined": _Made(refined, c, truth)} if asked.refined else {}),
        **(_unpaired_controls(train, test) if pictured and not has_truth else _controls(train, test, asked)),
    }
    about = _Real(train.target, test, asked)
    for name, made in rows.items():
        about.measure(made, itself=name == "real, held out", trained_on=name == "real, training")
    _variants(draw, rows, about, test, asked)
    _costs(draw, rows, c, asked)
    for made in rows.values():  # what so few pictures cannot tell is no number, and JSON has none for it
        made.cells = {k: v for k, v in made.cells.items() if all(map(math.isfinite, v))}
    error, of = _errors(rows["refined" if asked.refined else "draft"], asked)
    worth = None if error is None else rank_correlation(energies, error)
    kept = [m for m in about.measures() if any(m.name in made.cells for made in rows.values())]
    return Scores(
        features=asked.features.name,
        pictures=len(real),
        variants=asked.variants,
        truth=has_truth,
        paired=asked.paired,
        row=asked.row,
        measures=tuple(kept),
        rows={name: made.cells for name, made in rows.items()},
        change={
            k: mean_interval(after - rows["draft"].each[k])
            for k, after in (rows["refined"].each.items() if asked.refined else ())
        },
        worth=None if worth is None or math.isnan(worth.value) else worth,
        worth_of=of,
        points=() if error is None else tuple(zip(energies.tolist(), error.tolist(), strict=True)),
        notes=tuple(about.notes),
        each={
            name: {k: tuple(v.tolist()) for k, v in rows[name].each.items()}
            for name in ("draft", "refined")
            if name in rows
        },
    )


class _Real:
    """What rows are measured against: features of the real pictures are computed once."""

    def __init__(self, train: Tensor, test: Pair, asked: Asked) -> None:
        self.asked, self.test = asked, test
        self.features, self.train = asked.features(test.target), asked.features(train)
        self.low, self.low_train = low(test.target), low(train)
        self.groups = test.condition if test.condition is not None and test.condition.ndim == 1 else None
        self.notes: list[str] = []
        n, d = self.features.shape
        if n < 2 * d:
            self.notes.append(
                f"{n} held-out pictures in {d} features: the Fréchet distance is biased upwards, "
                "so read the KID; compare Fréchet distances only within this table."
            )
        if n < 50:
            self.notes.append(f"{n} held-out pictures are few: every interval here is a rough one.")

    def measure(self, made: _Made, *, itself: bool, trained_on: bool) -> None:
        f = self.asked.features.name
        h = self.asked.features(made.x)
        cells = made.cells
        if not itself:  # against themselves the distances are 0 by definition
            cells[f"KID ({f})"] = kid(h, self.features)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FewPictures)  # said once, in the notes
                cells[f"Fréchet ({f})"] = Interval.exact(frechet(h, self.features))
            m = manifold(h, self.features)
            for name in ("precision", "recall", "density", "coverage"):
                cells[name] = mean_interval(getattr(m, name))
        if made.truth is not None and not itself:
            self._each(made, "PSNR", psnr(made.x, made.truth))
            self._each(made, "SSIM", ssim(made.x, made.truth))
            made.each["error"] = rmse(made.x, made.truth)
            if self.asked.distance:
                self._each(made, "LPIPS", self.asked.distance(made.x, made.truth))
        if made.c is not None:
            for a in self.asked.agreements:
                score = a.score(made.x, made.c)
                if a.pool:
                    cells[a.name] = a.pool(score)
                else:
                    self._each(made, a.name, score)
        if made.c is None or made.c.ndim < 3:  # sentences are no groups: nearly each is its own
            groups = made.c if made.c is not None and made.c.ndim == 1 else None
            pixels = relative_spread(made.x, self.test.target, groups, self.groups)
            cells["diversity"] = Interval.exact(pixels)
            cells[f"diversity ({f})"] = Interval.exact(relative_spread(h, self.features, groups, self.groups))
        if trained_on:  # their nearest training pictures are they themselves
            return
        near = memory(low(made.x), self.low_train, self.low)
        cells["copies"] = mean_interval(near.copy)
        near = memory(h, self.train, self.features)
        cells[f"copies ({f})"] = mean_interval(near.copy)

    def measures(self) -> list[Measure]:
        f = self.asked.features.name
        return [
            Measure(f"KID ({f})", "lower", "kernel distance to held-out pictures, 0 = one law"),
            Measure(f"Fréchet ({f})", "lower", "distance of means and covariances to held-out pictures"),
            *(Measure(a.name, a.better, a.says, agreement=True) for a in self.asked.agreements),
            Measure("PSNR", "higher", "dB against the true picture"),
            Measure("SSIM", "higher", "likeness in structure to the true picture"),
            Measure("LPIPS", "lower", "perceptual distance to the true picture (AlexNet)"),
            Measure("precision", "higher", "share that lies among the real pictures"),
            Measure("recall", "higher", "share of real pictures that lie among these"),
            Measure("density", "one", "how deep they lie among the real, real = about 1"),
            Measure("coverage", "higher", "share of real pictures that have one of these near"),
            Measure("diversity", "one", "spread within a condition over the real one, in pixels"),
            Measure(f"diversity ({f})", "one", "the same by features"),
            Measure(
                "copies", "lower", "share nearer to a training picture than 99 % of held-out ones; real: .01"
            ),
            Measure(f"copies ({f})", "lower", "the same by features"),
            Measure("ms a picture", "lower", "milliseconds, in a batch"),
            Measure("MB", "lower", "memory at the peak of a batch"),
        ]

    @staticmethod
    def _each(made: _Made, name: str, values: Tensor) -> None:
        made.each[name] = values
        made.cells[name] = mean_interval(values)


def _controls(train: Pair, test: Pair, asked: Asked) -> dict[str, _Made]:
    """What costs nothing to make, and what is real: no number is worth more than its distance to these."""
    c, real = test
    n, keep = len(real), asked.keep
    truth = real if c is not None and c.ndim == 4 else None
    rows = {}
    if c is not None and c.ndim == 1 and train.condition is not None:
        means = {int(k): train.target[train.condition == k].mean(0) for k in train.condition.unique()}
        whole = train.target.mean(0)
        mean = torch.stack([means.get(int(k), whole) for k in c])
        rows["mean picture of the category"] = _Made(mean, c)
        drawn = [_pick(train.condition, int(k), i) for i, k in enumerate(c)]
        rows["real, training"] = _Made(train.target[drawn], train.condition[drawn])
    else:
        mean = train.target.mean(0, keepdim=True).expand_as(real)
        rows["mean picture"] = _Made(
            keep(mean, c), c, truth
        )  # what the condition fixes, anybody can put back
        if c is not None and train.condition is not None:
            _, index = nearest(asked.describe(c).double(), asked.describe(train.condition).double())
            rows[NEAREST] = _Made(keep(train.target[index], c), c, truth)
        rows["real, training"] = _Made(
            train.target[:n], None if train.condition is None else train.condition[:n]
        )
    rows["real, held out"] = _Made(real, c, truth)
    return rows


def _unpaired_controls(train: Pair, test: Pair) -> dict[str, _Made]:
    """The given pictures as they are, and real ones, asked to agree with given ones that are not theirs."""
    c, real = test
    assert c is not None
    n = len(real)
    other = c.roll(1, 0)
    return {
        UNCHANGED: _Made(match_channels(c, real.shape[1]), c),
        "real, training": _Made(train.target[:n], other[: len(train.target)]),
        "real, held out": _Made(real, other),
    }


def _pick(categories: Tensor, wanted: int, i: int) -> int:
    """The i-th training picture of a category, going round; any picture where it has none."""
    mine = (categories == wanted).nonzero()[:, 0]
    return int(mine[i % len(mine)]) if len(mine) else i % len(categories)


def _some(pair: Pair, most: int, generator: torch.Generator) -> Pair:
    """At most ``most`` examples of a pair, in a random order."""
    chosen = torch.randperm(len(pair.target), generator=generator)[:most].to(pair.target.device)
    return Pair(None if pair.condition is None else pair.condition[chosen], pair.target[chosen])


def _draw_all(
    draw: Draw, c: Tensor | None, n: int, asked: Asked, *, variant: int
) -> tuple[Tensor, Tensor, Tensor]:
    made = []
    for start in range(0, n, asked.batch):
        part = None if c is None else c[start : start + asked.batch]
        made.append(draw(part, min(asked.batch, n - start), variant=variant, refine=None))
    return (
        torch.cat([m.drafts for m in made]),
        torch.cat([m.images for m in made]),
        torch.cat([m.energies for m in made]),
    )


def _variants(draw: Draw, rows: dict[str, _Made], about: _Real, test: Pair, asked: Asked) -> None:
    """Diversity for pictures and sentences: several z for each of up to 100 of them."""
    c, real = test
    if c is None or c.ndim == 1 or asked.variants < 2 or len(real) < 2:
        return
    n = min(100, len(real))
    drawn = [_draw_all(draw, c[:n], n, asked, variant=v) for v in range(1, asked.variants)]
    for row, which in (("draft", 0), ("refined", 1))[: 1 + asked.refined]:
        x = torch.stack([rows[row].x[:n], *(d[which] for d in drawn)], 1)
        rows[row].cells["diversity"] = variants_spread(x, real)
        h = asked.features(x.flatten(0, 1)).view(n, asked.variants, -1)
        rows[row].cells[f"diversity ({asked.features.name})"] = variants_spread(h, about.features)


def _costs(draw: Draw, rows: dict[str, _Made], c: Tensor | None, asked: Asked) -> None:
    n = min(asked.batch, len(rows["draft"].x))
    part = None if c is None else c[:n]
    for row, refine in (("draft", 0), ("refined", None))[: 1 + asked.refined]:
        took = cost(partial(draw, part, n, variant=0, refine=refine), rows[row].x.device)
        rows[row].cells["ms a picture"] = Interval.exact(1000 * took.seconds / n)
        if not math.isnan(took.megabytes):
            rows[row].cells["MB"] = Interval.exact(took.megabytes)


def _errors(refined: _Made, asked: Asked) -> tuple[Tensor | None, str]:
    """The per-picture error that the energy should go with."""
    if "LPIPS" in refined.each:
        return refined.each["LPIPS"], "the perceptual distance (LPIPS) to the true picture"
    if "error" in refined.each:
        return refined.each["error"], "the root mean square distance to the true picture"
    if asked.doubt is not None and refined.c is not None:
        return asked.doubt(refined.x, refined.c), "the classifier's doubt that it is the category asked for"
    return None, ""
