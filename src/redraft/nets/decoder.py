"""Initializers from nothing or a category: z -> picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.types import Spec
from redraft.nets.blocks import FiLMNorm, halvings
from redraft.nets.parts import Initializer


class Decoder(Initializer):
    """[z; category] -> linear -> (twice as large, 3x3 convolution, FiLM) a few times -> tanh.

    Pixels are repeated and convolved, not transposed-convolved: those leave a grid of period 4 that
    cuts thin parts, such as the straps of sandals, into dots.
    """

    def __init__(self, spec: Spec, width: int, z: int = 64) -> None:
        super().__init__()
        self.z_shape = (z,)
        depth = halvings(spec.size)
        self.side = spec.size >> depth
        channels = [min(width * 2**i, width * 8) for i in range(depth, -1, -1)]
        self.embed = nn.Embedding(spec.width, 32) if spec.condition == "category" else None
        code = z + (32 if self.embed is not None else 0)
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
        for conv, norm in zip(self.convs, self.norms[1:], strict=True):
            h = F.silu(norm(conv(F.interpolate(h, scale_factor=2)), code))
        return torch.tanh(self.out(h).float())
