"""Initializers from nothing or a category: z -> picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from redraft.core.filters import blur
from redraft.core.types import Spec
from redraft.nets.blocks import FiLMNorm, Upsample, halvings
from redraft.nets.parts import Initializer


class Decoder(Initializer):
    """[z; category] -> linear -> transposed convolutions, FiLM at each scale -> tanh.

    The last logits pass a fixed [1 2 1] blur, which removes the grid of strided layers.
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
        self.norm = FiLMNorm(channels[0], code)
        self.up = nn.ModuleList(Upsample(a, b, code) for a, b in zip(channels, channels[1:], strict=False))
        self.out = nn.Conv2d(channels[-1], spec.channels, 3, 1, 1)

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        code = z if self.embed is None else torch.cat([z, self.embed(c)], 1)
        h = self.first(code).view(len(z), -1, self.side, self.side)
        h = nn.functional.silu(self.norm(h, code))
        for up in self.up:
            h = up(h, code)
        return torch.tanh(blur(self.out(h)).float())
