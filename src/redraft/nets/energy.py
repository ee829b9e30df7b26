"""Energies E(x, c), lower = more like the data. SiLU, no normalisation, the condition encoded once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.types import Spec
from redraft.nets.blocks import halvings, in_float32
from redraft.nets.parts import Code, Energy


class GlobalEnergy(Energy):
    """One score for the whole picture, for a category or for no condition.

    Strided convolutions down to 4-7 px, FiLM of the category on the second layer, and a projection
    of the last feature on the category's vector (Miyato & Koyama 2018).
    """

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        depth = halvings(spec.size)
        channels = [min(width * 2**i, width * 8) for i in range(depth)]
        into = [spec.channels, *channels]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(into, channels, strict=False))
        top, side = channels[-1], spec.size >> depth
        self.mix = nn.Conv2d(top, 2 * top, 3, 2, 1)
        self.hidden = nn.Linear(2 * top * ((side + 1) // 2) ** 2, top)
        self.out = nn.Linear(top, 1)
        self.filmed = min(1, depth - 1)  # the layer that the category modulates
        if spec.condition == "category":
            self.film = nn.Embedding(spec.width, 2 * channels[self.filmed])
            nn.init.zeros_(self.film.weight)
            self.project = nn.Embedding(spec.width, top)
            nn.init.normal_(self.project.weight, 0, top**-0.5)

    def encode(self, c: Tensor | None) -> Code:
        if c is None or not hasattr(self, "film"):  # without pairs it sees nothing of the given side
            return ()
        return (self.film(c)[:, :, None, None], self.project(c))

    def forward(self, x: Tensor, code: Code) -> Tensor:
        h = x
        for i, conv in enumerate(self.down):
            h = conv(h)
            if code and i == self.filmed:
                scale, shift = code[0].chunk(2, 1)
                h = torch.addcmul(shift, h, 1 + scale)
            h = F.silu(h)
        h = F.silu(self.mix(h)).flatten(1)
        h = F.silu(self.hidden(h))
        with in_float32(h):
            h = h.to(self.out.weight.dtype)
            f = self.out(h).squeeze(1)
            if code:
                f = f + (h * code[1].to(h.dtype)).sum(1)
            return -f


class PatchEnergy(Energy):
    """The mean of overlapping patches' scores, for a picture condition seen beside the picture.

    Strided convolutions to a grid of 8 x 8 scores or so; the condition enters at the first layer, at
    full resolution, and at the last, in blocks.
    """

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        depth = max(3, halvings(spec.size, smallest=8))
        channels = [min(width * 2**i, width * 4) for i in range(depth)]
        top = channels[-1]
        self.stem = nn.Conv2d(spec.channels, width, 4, 2, 1)
        self.stem_c = nn.Conv2d(spec.width, width, 4, 2, 1, bias=False)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(channels, channels[1:], strict=False)
        )
        self.mix = nn.Conv2d(top, top, 3, 1, 1)
        self.mix_c = nn.Conv2d(spec.width, top, 8, 8, bias=False)
        self.block = 2 ** (depth - 3)  # px of the condition that its last entrance averages first
        self.out = nn.Conv2d(top, 1, 1)

    def encode(self, c: Tensor) -> Code:
        return (self.stem_c(c), self.mix_c(F.avg_pool2d(c, self.block)))

    def logits(self, x: Tensor, code: Code) -> Tensor:
        h = F.silu(self.stem(x) + code[0])
        for conv in self.down:
            h = F.silu(conv(h))
        h = h + F.silu(self.mix(h) + code[1])
        with in_float32(h):
            return self.out(h.to(self.out.weight.dtype)).squeeze(1)

    def forward(self, x: Tensor, code: Code) -> Tensor:
        return -self.logits(x, code).mean((1, 2))
