"""What a condition says by a straight line, in closed form.

A flow of few examples learns noise before it learns this, and a flow that begins here has only the rest to
learn: of 1,700 captioned emoji it begins where 500 steps had not brought it (docs/results/fusion.md).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.ridge import ridge
from redraft.core.types import Spec

READ = 4_096  # numbers of a condition at most; pictures are averaged over places until they have no more
AROUND = 3  # places a side of a condition that tell one place of a map
PLACES = 8_000  # of maps, at most, that it is found from


class Regression(nn.Module):
    """c -> x [N, C, s, s] by ridge regression, fixed once fitted; 0 before.

    Vectors (s = 1) are told by all of c, a category, [N, D] or [N, Cc, s', s']; maps by a picture's places
    around, the same everywhere.
    """

    mean: Tensor
    weights: Tensor
    offset: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.width, self.maps, self.side = spec.width, spec.size > 1, 0
        if spec.condition == "picture" and not self.maps:
            self.side = spec.side or spec.size
            while spec.width * self.side**2 > READ and self.side > 1:
                self.side -= 1
        numbers = spec.width * (AROUND if self.maps else max(1, self.side)) ** 2
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("weights", torch.zeros(numbers, spec.channels))
        self.register_buffer("offset", torch.zeros(spec.channels))

    @staticmethod
    def suits(spec: Spec) -> bool:
        """Whether there is something to be told, of as many places as it is told by."""
        return spec.condition == "picture" or (spec.condition != "none" and spec.size == 1)

    def forward(self, c: Any) -> Tensor:
        with torch.autocast(self.mean.device.type, enabled=False):
            x = self.offset + (self._read(c).to(self.mean) - self.mean) @ self.weights  # [N, places, C]
        return x.transpose(1, 2).unflatten(2, c.shape[2:] if self.maps else (1, 1))

    @torch.no_grad()
    def fit(self, c: Any, x: Tensor) -> float:
        """The share of the variance of x [N, C, s, s] that is told of rows left out, each by all else."""
        given, wanted = self._read(c).flatten(0, 1), x.flatten(2).transpose(1, 2).flatten(0, 1)
        step = -(-len(given) // PLACES)
        while math.gcd(step, x[0, 0].numel()) > 1:  # else only some columns of the maps would be looked at
            step += 1
        found = ridge(given[::step], wanted[::step])
        self.mean.copy_(found.mean)
        self.weights.copy_(found.weights)
        self.offset.copy_(found.mean_y)
        return found.told

    def _read(self, c: Any) -> Tensor:
        """What tells each place [N, places, numbers]; of a vector there is one."""
        if self.maps:
            return F.unfold(c, AROUND, padding=AROUND // 2).transpose(1, 2)
        if c.ndim == 1:
            return F.one_hot(c, self.width).float()[:, None]
        return (F.adaptive_avg_pool2d(c, self.side).flatten(1) if self.side else c)[:, None]
