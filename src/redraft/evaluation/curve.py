"""What refinement buys: measures and time after K steps, for several K."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from redraft.core.types import Pair
from redraft.evaluation.distances import kid
from redraft.evaluation.evaluate import Asked, Draw
from redraft.evaluation.table import Interval, mean_interval


class Point(NamedTuple):
    """Pictures after ``steps`` steps."""

    steps: int
    milliseconds: float  # a picture, in a batch
    cells: dict[str, Interval]  # by the measure's name: KID, agreements, LPIPS


def refinement(
    drawer: Callable[[int], Draw], test: Pair, asked: Asked, steps: list[int], *, truth: bool
) -> list[Point]:
    """A point for each K in ``steps``, all on the same held-out pairs, from the same drafts.

    ``drawer(K)`` is a fresh draw with K steps. Conditions are drawn for in batches of ``asked.batch``; the
    best of the batches' times counts, for what disturbs only adds. ``truth``: whether targets are the
    truth of their conditions.
    """
    real = asked.features(test.target)
    n = min(asked.batch, len(real))
    drawer(min(1, steps[-1]))(
        None if test.condition is None else test.condition[:n], n, variant=0, refine=None
    )  # warm up
    return [_point(drawer(k), test, asked, real, k, truth) for k in steps]


def _point(draw: Draw, test: Pair, asked: Asked, real: torch.Tensor, k: int, truth: bool) -> Point:
    c, target = test
    parts, times = [], []
    for start in range(0, len(target), asked.batch):
        rows = slice(start, start + asked.batch)
        n = len(target[rows])
        begun = time.perf_counter()
        parts.append(draw(None if c is None else c[rows], n, variant=0, refine=None).images)
        if n == min(asked.batch, len(target)):
            times.append((time.perf_counter() - begun) / n)
    x = torch.cat(parts)
    cells = {f"KID ({asked.features.name})": kid(asked.features(x), real)}
    if c is not None:
        for a in asked.agreements:
            score = a.score(x, c)
            cells[a.name] = a.pool(score) if a.pool else mean_interval(score)
    if truth and asked.distance:
        cells["LPIPS"] = mean_interval(asked.distance(x, target))
    return Point(k, 1000 * min(times), cells)
