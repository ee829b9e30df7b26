"""Initializers from a picture: a U-Net whose noise enters at every scale of the way up."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from redraft.core.types import Spec
from redraft.nets.blocks import Upsample, halvings
from redraft.nets.parts import Initializer


class UNet(Initializer):
    """c [N, Cc, S, S], z [N, z] -> x [N, C, S, S]; z by FiLM after every layer of the way up."""

    def __init__(self, spec: Spec, width: int, z: int = 16) -> None:
        super().__init__()
        self.z_shape = (z,)
        depth = halvings(spec.size, smallest=4)
        channels = [min(width * 2**i, width * 4) for i in range(depth)]
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.GroupNorm(max(1, b // 8), b), nn.SiLU())
            for a, b in zip([spec.width, *channels], channels, strict=False)
        )
        way_up = list(reversed([width // 2, *channels[:-1]]))
        into = [channels[-1], *(2 * u for u in way_up[:-1])]
        self.up = nn.ModuleList(Upsample(a, b, z) for a, b in zip(into, way_up, strict=True))
        self.out = nn.Conv2d(width // 2 + spec.width, spec.channels, 5, 1, 2)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        skips, h = [], c
        for down in self.down:
            h = down(h)
            skips.append(h)
        skips.pop()
        for up in self.up:
            h = up(h, z)
            if skips:
                h = torch.cat([h, skips.pop()], 1)
        h = self.out(torch.cat([h, c], 1))
        return torch.tanh(h.float())
