"""Small parts that several networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from redraft.core.types import Spec


class FiLMNorm(nn.Module):
    """Group normalisation whose scale and shift come from a code [N, D] (Perez et al. 2018)."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(max(1, min(8, channels // 4)), channels, affine=False)
        self.film = nn.Linear(code, 2 * channels)

    def forward(self, h: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.film(code)[:, :, None, None].chunk(2, 1)
        return torch.addcmul(shift, self.norm(h), 1 + scale)


class StyleNorm(nn.Module):
    """Group normalisation, then scale and shift by a style [N, D]; none of the second where D = 0."""

    def __init__(self, channels: int, style: int, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(max(1, channels // 8), channels) if norm else nn.Identity()
        self.film = nn.Linear(style, 2 * channels) if style else None
        if self.film is not None:
            nn.init.normal_(self.film.weight, 0, 0.1)
            nn.init.zeros_(self.film.bias)

    def forward(self, h: Tensor, style: Tensor) -> Tensor:
        h = self.norm(h)
        if self.film is None:
            return h
        scale, shift = self.film(style)[:, :, None, None].chunk(2, 1)
        return torch.addcmul(shift, h, 1 + scale)


class NoiseIn(nn.Module):
    """White noise [N, 1, H, W], which each channel takes in by a strength that it learns (StyleGAN)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.full((1, channels, 1, 1), 0.1))

    def forward(self, h: Tensor, noise: Tensor) -> Tensor:
        return torch.addcmul(h, self.strength, noise)


class Coded(nn.Linear):
    """A standardised vector [N, D] -> [N, n] of about unit variance, in float32 under autocast too."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, 0, self.in_features**-0.5)
        nn.init.zeros_(self.bias)

    def forward(self, c: Tensor) -> Tensor:
        with in_float32(c):
            return super().forward(c.flatten(1).to(self.weight.dtype))


def code_of(spec: Spec, n: int) -> nn.Embedding | Coded | None:
    """A condition's code [N, n], about N(0, 1) at first: from a table (category) or linear (vector).

    None for no condition, and for pictures, which enter otherwise.
    """
    if spec.condition == "category":
        return nn.Embedding(spec.width, n)
    return Coded(spec.width, n) if spec.condition == "vector" else None


def code_width(spec: Spec) -> int:
    """Numbers that an initializer from noise makes of its condition; 0 without one."""
    return {"category": 32, "vector": min(spec.width, 128)}.get(spec.condition, 0)


def rows_of(spec: Spec) -> int:
    """How many rows of a code's weight are added up for one condition: 1 of a table, all of a linear map."""
    return spec.width if spec.condition == "vector" else 1


def dense(spec: Spec) -> bool:
    """Whether the target is an autoencoder's grid rather than a picture: few places, many channels.

    There neighbours differ and each place holds much: networks start at full size, and wide.
    """
    return spec.channels > 3 or spec.size < 8


def first_width(spec: Spec, width: int) -> int:
    """Channels at full size: ``width`` for pictures, for dense grids enough to hold their channels twice."""
    return max(width, 2 * spec.channels) if dense(spec) else width


def depth_of(spec: Spec) -> int:
    """How often an initializer halves or doubles: pictures to 7 px or more, dense grids to 4."""
    return halvings(spec.size, 4 if dense(spec) else 7)


def in_float32(h: Tensor) -> torch.autocast:
    """A context without autocast: energies of one batch differ by less than half precision can tell."""
    return torch.autocast(h.device.type, enabled=False)


def halvings(size: int, smallest: int = 7) -> int:
    """How often ``size`` can be halved without going below ``smallest`` or leaving whole pixels."""
    count = 0
    while size % 2 == 0 and size // 2 >= smallest:
        size, count = size // 2, count + 1
    return count


def parameters(net: nn.Module) -> int:
    """The number of trainable numbers."""
    return sum(p.numel() for p in net.parameters())
