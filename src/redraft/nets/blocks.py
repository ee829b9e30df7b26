"""Small parts that several networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FiLMNorm(nn.Module):
    """Group normalisation whose scale and shift come from a code [N, D] (Perez et al. 2018)."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(max(1, min(8, channels // 4)), channels, affine=False)
        self.film = nn.Linear(code, 2 * channels)

    def forward(self, h: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.film(code)[:, :, None, None].chunk(2, 1)
        return torch.addcmul(shift, self.norm(h), 1 + scale)


def halvings(size: int, smallest: int = 7) -> int:
    """How often ``size`` can be halved without going below ``smallest`` or leaving whole pixels."""
    count = 0
    while size % 2 == 0 and size // 2 >= smallest:
        size, count = size // 2, count + 1
    return count


def parameters(net: nn.Module) -> int:
    """The number of trainable numbers."""
    return sum(p.numel() for p in net.parameters())
