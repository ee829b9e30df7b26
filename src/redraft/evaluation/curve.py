"""What steps buy: measures and time after K of them, for several K, from drafts of one's own or another's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from redraft.core.types import Pair
from redraft.evaluation.distances import kid
from redraft.evaluation.evaluate import Asked, Draw
from redraft.evaluation.table import Interval, Point, mean_interval

Make = Callable[[slice], Tensor]  # rows of the held-out pairs -> their pictures
Revise = Callable[[Tensor, slice, float, int], Tensor]  # (drafts, rows, level, K) -> pictures


class Revision(NamedTuple):
    """Steps to be tried from one level of noise."""

    name: str
    level: float  # 1: from noise, without drafts
    steps: Sequence[int]


def refinement(
    drawer: Callable[[int], Draw], test: Pair, asked: Asked, steps: list[int], *, truth: bool
) -> list[Point]:
    """A point for each K in ``steps``, all on the same held-out pairs, from the same drafts.

    ``drawer(K)`` is a fresh draw with K steps. Conditions are drawn for in batches of ``asked.batch``; the
    best of the batches' times counts, for what disturbs only adds. ``truth``: whether targets are the
    truth of their conditions.
    """
    c, target = test
    real = asked.features(target)

    def maker(k: int) -> Make:
        draw = drawer(k)

        def make(rows: slice) -> Tensor:
            n = len(target[rows])
            return draw(None if c is None else c[rows], n, variant=0, refine=None).images

        return make

    maker(min(1, steps[-1]))(slice(asked.batch))  # warm up
    made = [(k, *_timed(maker(k), len(target), asked.batch)) for k in steps]
    return [Point(k, ms, _cells(x, test, asked, real, truth)) for k, x, ms in made]


def revisions(
    draft: Make,
    revise: Revise,
    test: Pair,
    asked: Asked,
    wanted: Sequence[Revision],
    *,
    truth: bool,
) -> dict[str, tuple[Point, ...]]:
    """A point for the drafts alone, and for each number of steps from each level, on the same drafts.

    Drafts are made once; their time is part of what follows
    them, and of nothing that begins at noise. Batches and times as in ``refinement``.
    """
    n, real = len(test.target), asked.features(test.target)
    first = slice(0, min(n, asked.batch))
    revise(draft(first), first, 1.0, 1)  # warm up
    drafts, before = _timed(draft, n, asked.batch)
    curves: dict[str, tuple[Point, ...]] = {
        "draft": (Point(0, before, _finite(_cells(drafts, test, asked, real, truth))),)
    }
    for name, level, steps in wanted:
        made = [(k, *_timed(partial(_revised, revise, drafts, level, k), n, asked.batch)) for k in steps]
        earlier = 0.0 if level == 1 else before
        curves[name] = tuple(
            Point(k, earlier + ms, _finite(_cells(x, test, asked, real, truth))) for k, x, ms in made
        )
    return curves


def _revised(revise: Revise, drafts: Tensor, level: float, steps: int, rows: slice) -> Tensor:
    return revise(drafts[rows], rows, level, steps)


def _finite(cells: dict[str, Interval]) -> dict[str, Interval]:
    """What so few pictures can tell; JSON has no other numbers."""
    return {name: cell for name, cell in cells.items() if all(map(math.isfinite, cell))}


def _timed(make: Make, n: int, batch: int) -> tuple[Tensor, float]:
    """Pictures of n pairs, and the milliseconds that one took in the best full batch."""
    parts, times = [], []
    for start in range(0, n, batch):
        rows = slice(start, min(n, start + batch))
        begun = time.perf_counter()
        parts.append(make(rows))
        if len(parts[-1]) == min(batch, n):
            times.append((time.perf_counter() - begun) / len(parts[-1]))
    return torch.cat(parts), 1000 * min(times)


def _cells(x: Tensor, test: Pair, asked: Asked, real: Tensor, truth: bool) -> dict[str, Interval]:
    """Measures of pictures x, made for the conditions of ``test``."""
    c, target = test
    cells = {f"KID ({asked.features.name})": kid(asked.features(x), real)}
    if c is not None:
        for a in asked.agreements:
            score = a.score(x, c)
            cells[a.name] = a.pool(score) if a.pool else mean_interval(score)
    if truth and asked.distance:
        cells["LPIPS"] = mean_interval(asked.distance(x, target))
    return cells
