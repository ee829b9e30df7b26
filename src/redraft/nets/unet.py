"""Initializers from a picture: a U-Net whose noise is hard to ignore."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.filters import blur
from redraft.core.types import Spec
from redraft.nets.blocks import NoiseIn, StyleNorm, dense, first_width, halvings
from redraft.nets.parts import Initializer


class UNet(Initializer):
    """c [N, Cc, S, S], z [N, *z_shape] -> x [N, C, S, S].

    z is flat: first ``style`` numbers that modulate every layer of the way up (colour and light of the
    whole picture), then, with ``noise``, one picture of white noise for each scale of the way up. On
    dense grids it goes down to 2 or 4, and ends in a layer where a picture's last blur would be.
    """

    def __init__(self, spec: Spec, width: int, style: int = 8, noise: bool = True) -> None:
        super().__init__()
        depth, width = halvings(spec.size, 2 if dense(spec) else 4), first_width(spec, width)
        down = [min(width * 2**i, width * 4) for i in range(depth)]
        up = [width // 2, *down[:-1]][::-1]
        skips = [spec.width, *down[:-1]][::-1]
        self.style = style
        self.sides = [spec.size >> i for i in reversed(range(depth))] if noise else []
        self.z_shape = (style + sum(side**2 for side in self.sides),)
        self.down = nn.ModuleList(Down(a, b) for a, b in zip([spec.width, *down], down, strict=False))
        into = [down[-1], *(a + b for a, b in zip(up, skips, strict=True))]
        norms = [True] * (depth - 1) + [False]
        self.up = nn.ModuleList(Up(a, b, style, n, noise) for a, b, n in zip(into, up, norms, strict=False))
        self.last = nn.Conv2d(width // 2, width // 2, 3, 1, 1) if dense(spec) else None
        self.out = nn.Conv2d(into[-1], spec.channels, 3, 1, 1)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        style, *white = z.split([self.style, *(side**2 for side in self.sides)], 1)
        noises = [w.view(-1, 1, side, side) for w, side in zip(white, self.sides, strict=True)]
        skips, h = [c], c
        for down in self.down:
            h = down(h)
            skips.append(h)
        skips.pop()
        for up, noise in zip(self.up, noises or [None] * len(self.up), strict=True):
            h = up(h, style, noise)
            if up is self.up[-1] and self.last is not None:
                h = h + F.silu(self.last(h))
            elif up is self.up[-1]:
                h = blur(h)  # takes away the period-2 screen of the transposed convolution
            h = torch.cat([h, skips.pop()], 1)
        return torch.tanh(self.out(h).float())


class Down(nn.Module):
    """[N, C, H, W] -> [N, out, H/2, W/2]."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 4, 2, 1)
        self.norm = nn.GroupNorm(max(1, out // 8), out)

    def forward(self, h: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(h)))


class Up(nn.Module):
    """[N, C, H, W], style [N, D], noise [N, 1, 2H, 2W] or None -> [N, out, 2H, 2W]."""

    def __init__(self, channels: int, out: int, style: int, norm: bool, noise: bool) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, out, 4, 2, 1)
        self.noise = NoiseIn(out) if noise else None
        self.norm = StyleNorm(out, style, norm)

    def forward(self, h: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        h = self.conv(h)
        if self.noise is not None and noise is not None:
            h = self.noise(h, noise)
        return F.silu(self.norm(h, style))
