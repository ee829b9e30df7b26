"""Were training pictures learned by heart?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.evaluation.distances import nearest

SIDE = 16  # px; small shifts and noise should not hide a copy


@dataclass(frozen=True)
class Memory:
    """Nearest training pictures of what was made, beside those of real pictures that were not trained on."""

    distance: Tensor  # [N] to the nearest training picture
    index: Tensor  # [N] which one
    closer: Tensor  # [N] share of real test pictures whose nearest is farther; mean .5 = alike
    copy: Tensor  # [N] 1 = nearer than 99 % of real test pictures; mean .01 = alike


def memory(made: Tensor, train: Tensor, test: Tensor) -> Memory:
    """Compare by ``low`` or by features: made [N, D], train [M, D], test [T, D]."""
    gap, index = nearest(made.double(), train.double())
    real = nearest(test.double(), train.double())[0].sort().values
    farther = len(real) - torch.searchsorted(real, gap, right=True)
    return Memory(gap, index, farther / len(real), (gap < torch.quantile(real, 0.01)).double())


def low(x: Tensor) -> Tensor:
    """Pictures at low resolution, for comparing them by their pixels: [N, C * 16 * 16]."""
    return F.adaptive_avg_pool2d(x, SIDE).flatten(1)
