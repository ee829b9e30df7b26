"""Energies E(x, c), lower = more like the data. SiLU, no normalisation, the condition encoded once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.types import Spec
from redraft.nets.blocks import code_of, dense, first_width, halvings, in_float32, rows_of
from redraft.nets.parts import Code, Energy


class GlobalEnergy(Energy):
    """One score for the whole picture, for a category, a vector or for no condition.

    Strided convolutions down to 4-7 px, FiLM of the condition on the second layer, and a projection
    of the last feature on the condition's code (Miyato & Koyama 2018). On small or dense grids one
    convolution at full size comes first.
    """

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        depth = halvings(spec.size)
        whole, width = dense(spec) or not depth, first_width(spec, width)
        channels = [min(width * 2**i, width * 8) for i in range(depth + whole)]
        into = [spec.channels, *channels]
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, 1, 1) if whole and i == 0 else nn.Conv2d(a, b, 4, 2, 1)
            for i, (a, b) in enumerate(zip(into, channels, strict=False))
        )
        top, side = channels[-1], spec.size >> depth
        self.mix = nn.Conv2d(top, 2 * top, 3, 2, 1)
        self.hidden = nn.Linear(2 * top * ((side + 1) // 2) ** 2, top)
        self.out = nn.Linear(top, 1)
        self.filmed = min(1, len(channels) - 1)  # the layer that the condition modulates
        self.film = code_of(spec, 2 * channels[self.filmed])
        self.project = code_of(spec, top)
        if self.film is not None and self.project is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.normal_(self.project.weight, 0, (top * rows_of(spec)) ** -0.5)

    def encode(self, c: Tensor | None) -> Code:
        if c is None or self.film is None or self.project is None:
            return ()  # also without pairs: it sees nothing of the given side
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
    full resolution, and at the last, in blocks. Of dense grids it scores 4 x 4 to 8 x 8 fields.
    """

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        whole, width = dense(spec), first_width(spec, width)
        depth = min(2, halvings(spec.size, 4)) if whole else max(3, halvings(spec.size, smallest=8))
        channels = [min(width * 2**i, width * 4) for i in range(depth + whole)]
        top, cell = channels[-1], 2**depth if whole else 8
        shape = (3, 1, 1) if whole else (4, 2, 1)
        self.stem = nn.Conv2d(spec.channels, width, *shape)
        self.stem_c = nn.Conv2d(spec.width, width, *shape, bias=False)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(channels, channels[1:], strict=False)
        )
        self.mix = nn.Conv2d(top, top, 3, 1, 1)
        self.mix_c = nn.Conv2d(spec.width, top, cell, cell, bias=False)
        self.block = 2**depth // cell  # px of the condition that its last entrance averages first
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
