"""Initializers from a picture without a bottleneck: a residual network whose noise is hard to ignore."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.types import Spec
from redraft.nets.blocks import NoiseIn, StyleNorm, dense, first_width
from redraft.nets.parts import Initializer


class ResNet(Initializer):
    """c [N, Cc, S, S], z [N, *z_shape] -> x [N, C, S, S].

    Johnson et al.'s translator, as CCoopNets' (7x7, two strided layers, ``blocks`` residual blocks at S/4,
    two layers back up): keeps what is where, at twice a U-Net's cost. z as in ``UNet``: ``style`` numbers
    that modulate each block and layer, then white noise at S/4, S/2 and S. Dense grids are not
    reduced, and see 3x3 where pictures see 7x7.
    """

    def __init__(self, spec: Spec, width: int, style: int = 8, blocks: int = 6) -> None:
        super().__init__()
        halvings, kernel, w = 0 if dense(spec) else 2, 3 if dense(spec) else 7, first_width(spec, width)
        self.style, self.sides = style, [(spec.size >> halvings) << i for i in range(halvings + 1)]
        self.z_shape = (style + sum(s**2 for s in self.sides),)
        up = [w << i for i in range(halvings, -1, -1)]
        self.stem = nn.Conv2d(spec.width, w, kernel, 1, kernel // 2, padding_mode="reflect")
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(up[::-1], up[-2::-1], strict=False)
        )
        self.blocks = nn.ModuleList(Block(up[0], style) for _ in range(blocks))
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1) for a, b in zip(up, up[1:], strict=False))
        self.noises = nn.ModuleList(NoiseIn(n) for n in up)
        self.norms = nn.ModuleList(StyleNorm(n, style) for n in up)
        self.out = nn.Conv2d(w, spec.channels, kernel, 1, kernel // 2, padding_mode="reflect")

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        style, *noises = z.split([self.style, *(s**2 for s in self.sides)], 1)
        noises = [n.view(-1, 1, s, s) for n, s in zip(noises, self.sides, strict=True)]
        h = F.silu(self.stem(c))
        for down in self.down:
            h = F.silu(down(h))
        h = F.silu(self.norms[0](self.noises[0](h, noises[0]), style))
        for block in self.blocks:
            h = block(h, style)
        for up, enter, norm, noise in zip(self.up, self.noises[1:], self.norms[1:], noises[1:], strict=True):
            h = F.silu(norm(enter(up(F.interpolate(h, scale_factor=2)), noise), style))
        return torch.tanh(self.out(h).float())


class Block(nn.Module):
    """h + conv(silu(style-norm(conv(silu(h)))))."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, 1, 1)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1)
        self.norm = StyleNorm(channels, style)

    def forward(self, h: Tensor, style: Tensor) -> Tensor:
        return h + self.second(F.silu(self.norm(self.first(F.silu(h)), style)))
