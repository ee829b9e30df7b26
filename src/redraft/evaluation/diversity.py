"""How much pictures of one condition differ, beside how much real ones do. Distances are of x [N, D]."""

from __future__ import annotations

import torch
from torch import Tensor

from redraft.evaluation.distances import distance
from redraft.evaluation.table import Interval, ends, resample

MOST = 250  # pictures of a condition that are compared with one another


def spread(x: Tensor, groups: Tensor | None = None) -> float:
    """Mean pairwise distance within groups (int64 [N]), each group weighing the same; None: one group.

    Groups of one picture have no pairs and are left out; NaN when none has a pair.
    """
    groups = x.new_zeros(len(x)) if groups is None else groups
    means = []
    for g in groups.unique():
        mine = x[groups == g][:MOST].flatten(1).double()
        if len(mine) > 1:
            means.append(distance(mine, mine).sum() / (len(mine) * (len(mine) - 1)))
    return torch.stack(means).mean().item() if means else float("nan")


def relative_spread(
    made: Tensor, real: Tensor, made_groups: Tensor | None, real_groups: Tensor | None
) -> float:
    """Diversity of what was made over that of the real, within a condition: 1 = alike, 0 = one picture.

    NaN where the real pictures have none, or too few have the same condition.
    """
    return spread(made, made_groups) / (spread(real, real_groups) or float("nan"))


def variants_spread(variants: Tensor, real: Tensor) -> Interval:
    """Mean distance of the variants [N, V, ...] of a condition, over that of real pictures [M, ...] of
    different conditions; the interval is the bootstrap's over conditions. 0: z is ignored. NaN where the real
    pictures are all one."""
    n, v = variants.shape[:2]
    if v < 2:
        raise ValueError("a spread takes two variants of a condition")
    flat = variants.reshape(n, v, -1).double()
    each = distance(flat, flat).sum((1, 2)) / (v * (v - 1))
    each = (each / (spread(real) or float("nan"))).cpu()
    if each.isnan().any():
        return Interval.exact(float("nan"))
    return Interval(each.mean().item(), *ends(each[resample(n, 1000)].mean(1)))
