"""Pictures as tensors in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Square pictures of ``size`` px with ``channels`` channels (1 grey, 3 RGB)."""

    size: int
    channels: int

    def encode(self, raw: Tensor) -> Tensor:
        """uint8 or uint16 [N, C, S, S] -> float32 in [-1, 1], resized to ``size`` where S differs."""
        top = 65535 if raw.dtype == torch.uint16 else 255
        x = match_channels(raw.float() / (top / 2) - 1, self.channels)
        if x.shape[-1] != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=True)
        return x

    def show(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> RGB [N, 3, H, W] in [-1, 1]."""
        return match_channels(x, 3).clamp(-1, 1)


def luma(x: Tensor) -> Tensor:
    """Rec. 601 luma of RGB [N, 3, H, W] -> [N, 1, H, W]; grey pictures pass."""
    if x.shape[1] == 1:
        return x
    r, g, b = x.unbind(1)
    return (0.299 * r + 0.587 * g + 0.114 * b)[:, None]


def match_channels(x: Tensor, channels: int) -> Tensor:
    """Grey to RGB by repeating, RGB to grey by luma."""
    if x.shape[1] == channels:
        return x
    return x.expand(-1, channels, -1, -1) if x.shape[1] == 1 else luma(x)


def around(base: Tensor, change: Tensor, least: Callable[[Tensor], Tensor]) -> Tensor:
    """base + s change with the largest share s in [0, 1] that stays within [-1, 1].

    ``least`` makes one share of the pixels that must keep theirs in common: [N, C, H, W] -> broadcastable.
    """
    room = (1 - change.sign() * base) / change.abs().clamp_min(1e-9)
    return base + least(room).clamp(0, 1) * change
