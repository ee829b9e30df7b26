"""Networks for targets without places: a vector [N, d, 1, 1], as some autoencoders make."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.types import Spec
from redraft.nets.blocks import Coded, code_of, code_width, in_float32, rows_of
from redraft.nets.parts import Code, Energy, Initializer

LAYERS = 2  # hidden layers behind the first


class VectorEnergy(Energy):
    """E = −f: dense layers, the condition's FiLM on the first and its projection on the last feature."""

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        spec, hidden = _flat(spec), _hidden(spec, width)
        self.first = nn.Linear(spec.channels, hidden)
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(LAYERS))
        self.out = nn.Linear(hidden, 1)
        self.film, self.project = code_of(spec, 2 * hidden), code_of(spec, hidden)
        if self.film is not None and self.project is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.normal_(self.project.weight, 0, (hidden * rows_of(spec)) ** -0.5)

    def encode(self, c: Tensor | None) -> Code:
        """([N, 2H] scale and shift, [N, H] projection); () without a condition."""
        if c is None or self.film is None or self.project is None:
            return ()
        return (self.film(c), self.project(c))

    def forward(self, x: Tensor, code: Code) -> Tensor:
        """x [N, d, 1, 1] -> E [N]."""
        h = self.first(x.flatten(1))
        if code:
            scale, shift = code[0].chunk(2, 1)
            h = torch.addcmul(shift, h, 1 + scale)
        h = F.silu(h)
        for layer in self.layers:
            h = h + F.silu(layer(h))
        with in_float32(h):
            h = h.to(self.out.weight.dtype)
            f = self.out(h).squeeze(1)
            if code:
                f = f + (h * code[1].to(h.dtype)).sum(1)
            return -f


class VectorDecoder(Initializer):
    """[z; condition] -> dense layers, each added to the last -> tanh, as [N, d, 1, 1]."""

    def __init__(self, spec: Spec, width: int, z: int = 64) -> None:
        super().__init__()
        spec, hidden = _flat(spec), _hidden(spec, width)
        self.z_shape = (z,)
        self.embed: nn.Embedding | Coded | None = code_of(spec, code_width(spec))
        self.first = nn.Linear(z + code_width(spec), hidden)
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(LAYERS))
        self.out = nn.Linear(hidden, spec.channels)

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        code = z if self.embed is None else torch.cat([z, self.embed(c)], 1)
        h = F.silu(self.first(code))
        for layer in self.layers:
            h = h + F.silu(layer(h))
        return torch.tanh(self.out(h).float())[:, :, None, None]


def _flat(spec: Spec) -> Spec:
    """A picture condition of one place [N, Cc, 1, 1] is a vector too."""
    return replace(spec, condition="vector") if spec.condition == "picture" else spec


def _hidden(spec: Spec, width: int) -> int:
    return max(16 * width, 2 * spec.channels)
