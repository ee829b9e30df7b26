"""DiffAugment: the same differentiable augmentation on real and made pictures, for small data sets.

Zhao, Liu, Lin, Zhu, Han. "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS
2020, arXiv:2006.10738. Policy as published: colour (brightness ±0.5, saturation 0-2, contrast
0.5-1.5), translation (±1/8 of the side, zeros outside), cutout (a square of half the side).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.core.rng import Noise


def diff_augment(x: Tensor, c: Tensor | None, rng: Noise) -> tuple[Tensor, Tensor | None]:
    """Augment each x [N, C, H, W] at random; a picture condition moves and is cut as x is."""
    u = torch.special.ndtr(rng.normal(len(x), 7)).to(x.device).T  # uniform on (0, 1)
    x = _colour(x, u[0], u[1], u[2])
    x = _cut(_shift(x, u[3], u[4]), u[5], u[6])
    if c is not None and c.ndim == 4:
        c = _cut(_shift(c, u[3], u[4]), u[5], u[6])
    return x, c


def _colour(x: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    b, s, k = (v[:, None, None, None] for v in (brightness, saturation, contrast))
    x = x + (b - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * s)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (k + 0.5)


def _shift(x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Whole-pixel translation by up to 1/8 of the side; zeros come in."""
    n, _, h, w = x.shape
    dy = ((u * 2 - 1) * (h // 8)).round().long()
    dx = ((v * 2 - 1) * (w // 8)).round().long()
    rows = (torch.arange(h, device=x.device) + dy[:, None]).clamp(-1, h) + 1  # 0 and h + 1: zeros
    cols = (torch.arange(w, device=x.device) + dx[:, None]).clamp(-1, w) + 1
    padded = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    batch = torch.arange(n, device=x.device)[:, None, None]
    return padded[batch, rows[:, :, None], cols[:, None]].permute(0, 3, 1, 2)


def _cut(x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """A square of half the side, centred anywhere, set to zero."""
    h, w = x.shape[-2:]
    y = torch.arange(h, device=x.device) - (u * h)[:, None]
    z = torch.arange(w, device=x.device) - (v * w)[:, None]
    hole = (y.abs() < h / 4)[:, :, None] & (z.abs() < w / 4)[:, None]
    return x.masked_fill(hole[:, None], 0.0)
