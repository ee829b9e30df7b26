"""Pictures made a little worse, as an upsampler will meet them: blurred, resampled, noisy, compressed.

PITI's released code (arXiv:2205.12952) degrades what its upsampler enlarges as BSRGAN does (Zhang et al.
2021, arXiv:2103.14006), lightly. Here in this order, there in a random one; without its smoothing of flat
areas (0.2 of the pictures there), which takes a solver a picture. How strong each is, is ours. Nothing has a
slope.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.rng import Noise

RADIUS = 4  # px that a blur reaches
KEPT = ((0.5, "bilinear"), (0.75, "bilinear"), (0.5, "bicubic"))  # of the side, and how it is enlarged again
BEST = 95.0  # JPEG's quality at most
LUMINANCE = (  # JPEG's quantisation at quality 50; ITU T.81, annex K
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
COLOUR = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """How often, and how strongly at most; each picture's strengths are uniform between none and these."""

    blur: float = 0.8  # share of the pictures that are blurred; released code 0.8
    width: float = 1.0  # of a blur, either way: standard deviation, px of the small picture
    resample: float = 0.5  # share that is reduced once more and enlarged again; released code: at random
    noise: float = 0.03  # standard deviation of the noise, of a range of 2
    jpeg: float = 0.5  # share that goes through JPEG; released code 0.5
    quality: float = 60.0  # of JPEG at least; at most 95

    def __post_init__(self) -> None:
        for name in ("blur", "resample", "jpeg"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(
                    f"A degradation's {name} is a share of the pictures, 0 to 1, not {getattr(self, name)}."
                )
        if not (0 <= self.width <= RADIUS / 2 and 0 <= self.noise <= 1 and 1 <= self.quality <= BEST):
            raise UsageError(
                f"A degradation's width is at most {RADIUS / 2:g} px, its noise at most 1, its quality 1 to "
                f"{BEST:g}, not {self.width:g}, {self.noise:g} and {self.quality:g}."
            )

    @property
    def still(self) -> bool:
        """Whether it changes nothing."""
        return self.blur * self.width == self.resample == self.noise == self.jpeg == 0


@torch.no_grad()
def degraded(x: Tensor, how: Degradation, rng: Noise) -> Tensor:
    """Pictures x [N, C, H, W] in [-1, 1], each made worse in its own way; still in [-1, 1].

    The same pictures, and nothing is drawn from ``rng``, where ``how`` is still.
    """
    if how.still:
        return x
    u = torch.special.ndtr(rng.normal(len(x), 8)).to(x)
    noise = rng.normal(*x.shape).to(x)
    x = blurred(x, how.width * u[:, 1:3] * (u[:, :1] < how.blur))
    x = resampled(x, torch.where(u[:, 3] < how.resample, (u[:, 4] * len(KEPT)).long(), -1))
    x = (x + how.noise * u[:, 5, None, None, None] * noise).clamp(-1, 1)
    worse = compressed(x, how.quality + (BEST - how.quality) * u[:, 7])
    return torch.where((u[:, 6] < how.jpeg)[:, None, None, None], worse, x)


def blurred(x: Tensor, width: Tensor) -> Tensor:
    """Gaussian blur of x [N, C, H, W] by standard deviations ``width`` [N, 2], px down and across; 0: none.

    Edges are repeated.
    """
    away = torch.arange(-RADIUS, RADIUS + 1, device=x.device)
    weights = (-0.5 * (away / width.clamp_min(1e-3)[..., None]).square()).exp()
    weights = weights / weights.sum(-1, keepdim=True)
    r, (h, w) = RADIUS, x.shape[-2:]
    padded = F.pad(x, (0, 0, r, r), mode="replicate")
    x = sum(weights[:, 0, k, None, None, None] * padded[:, :, k : k + h] for k in range(2 * r + 1))  # type: ignore[assignment]
    padded = F.pad(x, (r, r, 0, 0), mode="replicate")
    return sum(weights[:, 1, k, None, None, None] * padded[..., k : k + w] for k in range(2 * r + 1))  # type: ignore[return-value]


def resampled(x: Tensor, which: Tensor) -> Tensor:
    """x [N, C, H, W], reduced and enlarged again by the entry ``which`` [N] of ``KEPT``; -1: not at all."""
    made, side = x, x.shape[-2:]
    for i, (kept, mode) in enumerate(KEPT):
        size = [max(1, round(kept * n)) for n in side]
        small = F.interpolate(x, size=size, mode="bilinear", antialias=True)
        made = torch.where(
            (which == i)[:, None, None, None], F.interpolate(small, size=side, mode=mode), made
        )
    return made


def compressed(x: Tensor, quality: Tensor) -> Tensor:
    """x [N, C, H, W] in [-1, 1] as JPEG gives it back, of qualities [N] in 1 to 100; colours not thinned out.

    Three channels are red, green and blue; of others each is taken for grey.
    """
    h, w = x.shape[-2:]
    colour = x.shape[1] == 3
    to_ycc = x.new_tensor(TO_YCC) if colour else torch.eye(x.shape[1]).to(x)
    y = torch.einsum("ij,njhw->nihw", to_ycc, 127.5 * (x + 1) - 128)
    y = F.pad(y, (0, -w % 8, 0, -h % 8), mode="replicate")
    cosines = _cosines().to(x)
    blocks = y.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)  # [N, C, h/8, w/8, 8, 8]
    steps = _steps(quality, (LUMINANCE, COLOUR, COLOUR) if colour else (LUMINANCE,))[:, :, None, None]
    kept = (cosines @ blocks @ cosines.T / steps).round() * steps
    y = (cosines.T @ kept @ cosines).transpose(3, 4).flatten(4).flatten(2, 3)[..., :h, :w]
    back = torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc), y) + 128
    return (back / 127.5 - 1).clamp(-1, 1)


def _cosines() -> Tensor:
    """The orthonormal cosine transform of eight numbers, float64 [8, 8]."""
    k, i = torch.arange(8, dtype=torch.float64)[:, None], torch.arange(8, dtype=torch.float64)
    rows = torch.cos((2 * i + 1) * k * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return rows


def _steps(quality: Tensor, tables: tuple[tuple[int, ...], ...]) -> Tensor:
    """What cosines are rounded to [N, channels, 8, 8]; libjpeg's scaling of its tables."""
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).floor()
    at_50 = quality.new_tensor(tables).view(len(tables), 8, 8)
    return ((at_50 * scale[:, None, None, None] + 50) / 100).floor().clamp(1, 255)
