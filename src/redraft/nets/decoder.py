"""Initializers from nothing, a category or a vector: z -> picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.types import Spec
from redraft.nets.blocks import FiLMNorm, code_of, code_width, dense, depth_of, first_width
from redraft.nets.parts import Initializer


class Decoder(Initializer):
    """[z; condition] -> linear -> (twice as large, 3x3 convolution, FiLM) a few times -> tanh.

    Pixels are repeated and convolved, not transposed-convolved: those leave a grid of period 4 that
    cuts thin parts, such as the straps of sandals, into dots. Dense grids get one more layer at first.
    """

    def __init__(self, spec: Spec, width: int, z: int = 64) -> None:
        super().__init__()
        self.z_shape = (z,)
        depth, width = depth_of(spec), first_width(spec, width)
        self.side, self.kept = spec.size >> depth, int(dense(spec))  # layers that keep the size
        channels = [min(width * 2**i, width * 8) for i in range(depth + self.kept, -1, -1)]
        self.embed = code_of(spec, code_width(spec))
        code = z + code_width(spec)
        self.first = nn.Linear(code, channels[0] * self.side**2)
        self.norms = nn.ModuleList(FiLMNorm(n, code) for n in channels)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, 1, 1) for a, b in zip(channels, channels[1:], strict=False)
        )
        self.out = nn.Conv2d(channels[-1], spec.channels, 3, 1, 1)

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        code = z if self.embed is None else torch.cat([z, self.embed(c)], 1)
        h = self.first(code).view(len(z), -1, self.side, self.side)
        h = F.silu(self.norms[0](h, code))
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms[1:], strict=True)):
            h = F.silu(norm(conv(h if i < self.kept else F.interpolate(h, scale_factor=2)), code))
        return torch.tanh(self.out(h).float())
