"""What a condition says of a vector by a straight line, in closed form.

A flow of few examples learns noise before it learns this, and a flow that begins here has only the rest to
learn: on 1,500 captioned emoji it began where 500 steps had not brought it (docs/results/fusion.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.ridge import ridge
from redraft.core.types import Spec
from redraft.nets.blocks import in_float32

READ = 4_096  # numbers of a condition at most; pictures are averaged over places until they have no more


class Regression(nn.Module):
    """c -> x [N, d, 1, 1] by ridge regression, fixed once fitted; 0 before."""

    mean: Tensor
    weights: Tensor
    offset: Tensor

    def __init__(self, spec: Spec) -> None:
        """For vectors of ``spec.channels``; c: int64 [N] (category), [N, D] or [N, Cc, s, s]."""
        super().__init__()
        self.width, self.side = spec.width, 0
        if spec.condition == "picture":
            self.side = spec.side or spec.size
            while spec.width * self.side**2 > READ and self.side > 1:
                self.side -= 1
        numbers = spec.width * max(1, self.side) ** 2
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("weights", torch.zeros(numbers, spec.channels))
        self.register_buffer("offset", torch.zeros(spec.channels))

    def forward(self, c: Any) -> Tensor:
        with in_float32(self.mean):
            x = self.offset + (self._read(c).to(self.mean) - self.mean) @ self.weights
        return x[..., None, None]

    @torch.no_grad()
    def fit(self, c: Any, x: Tensor) -> float:
        """The share of the variance of x [N, d, 1, 1] that is told of examples left out, each by all others."""
        found = ridge(self._read(c), x.flatten(1))
        self.mean.copy_(found.mean)
        self.weights.copy_(found.weights)
        self.offset.copy_(found.mean_y)
        return found.told

    def _read(self, c: Any) -> Tensor:
        if c.ndim == 1:
            return F.one_hot(c, self.width).float()
        return F.adaptive_avg_pool2d(c, self.side).flatten(1) if self.side else c
