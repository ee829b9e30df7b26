"""The two parts of a bridge, as networks: what an energy and an initializer must have."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Code = tuple[Tensor, ...]  # what a solver keeps of a condition, one row a picture


def joined(*codes: Code) -> Code:
    """The codes of several batches as those of one."""
    return tuple(torch.cat(k) for k in zip(*codes, strict=True))


class Energy(nn.Module):
    """A solver: E(x, c) [N], lower = more like the data. ``energy(x, code)`` scores, in float32."""

    @abstractmethod
    def encode(self, c: Any) -> Code:
        """All that depends on c alone: computed once for a chain, not once a step. () without a condition."""

    @abstractmethod
    def forward(self, x: Tensor, code: Code) -> Tensor:
        """x [N, C, H, W] -> E [N]."""

    def logits(self, x: Tensor, code: Code) -> Tensor:
        """x [N, C, H, W] -> [N, ...], higher = more like the data: one for the picture, or one a patch.

        Read as a discriminator, an energy is the mean of its logits, negated. (A mean over patches where a
        product of patches' odds would ask for their sum: the same law at another temperature.)
        """
        return -self(x, code)[:, None]

    def given(self, c: Any) -> Callable[[Tensor], Tensor]:
        """E(·, c): the condition bound once."""
        return partial(self, code=self.encode(c))


class Initializer(nn.Module):
    """A drafter in one pass: ``initializer(z, c)``."""

    z_shape: tuple[int, ...]  # of one picture's noise

    @abstractmethod
    def forward(self, z: Tensor, c: Any) -> Tensor:
        """z [N, *z_shape] and c -> x [N, C, H, W] in [-1, 1]."""
