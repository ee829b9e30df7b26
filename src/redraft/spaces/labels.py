"""Label maps: an index a pixel, seen by networks as the share of each label in the pixel."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Maps of ``classes`` labels at ``size`` px; ``palette`` gives each label's RGB, 0-255."""

    size: int
    classes: int
    palette: tuple[tuple[int, int, int], ...] = ()

    def encode(self, raw: Tensor) -> Tensor:
        """Indices uint8 [N, S', S'], S' a multiple of ``size`` -> shares float32 [N, classes, size, size]."""
        shares = F.one_hot(raw.long(), self.classes).movedim(-1, 1).float()
        factor = raw.shape[-1] // self.size
        return F.avg_pool2d(shares, factor) if factor > 1 else shares

    def show(self, c: Tensor) -> Tensor:
        """Shares -> the likeliest label's colour, RGB [N, 3, H, W] in [-1, 1]."""
        colours = torch.tensor(self.colours(), dtype=torch.float32, device=c.device) / 127.5 - 1
        return colours[c.argmax(1)].movedim(-1, 1)

    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """The palette, or evenly spread hues where the maps came as bare indices."""
        if self.palette:
            return self.palette
        hues = (colorsys.hsv_to_rgb(i / self.classes, 0.75, 0.95) for i in range(self.classes))
        return tuple((round(r * 255), round(g * 255), round(b * 255)) for r, g, b in hues)
