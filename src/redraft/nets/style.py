"""A fixed linear code of a picture's colour and light: what its condition does not say of its thumbnail."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GRID = 4  # side of the thumbnail
SLIGHT = 0.05  # a component that varies less than this, with pictures in [-1, 1], is no style


class Style(nn.Module):
    """(x, c) -> code [N, ``numbers``], about N(0, I) over the pictures that it was fitted to.

    The thumbnail (means of 4 x 4 fields) less its ridge regression on the condition's thumbnail, in the
    first principal components, each divided by its standard deviation. Closed form, no training: ``fit``
    once on training pairs; the numbers travel with the method as buffers.
    """

    mean: Tensor
    given_mean: Tensor
    ridge: Tensor
    project: Tensor

    def __init__(self, channels: int, given: int, numbers: int) -> None:
        super().__init__()
        fields = GRID**2
        self.register_buffer("mean", torch.zeros(channels * fields))
        self.register_buffer("given_mean", torch.zeros(given * fields))
        self.register_buffer("ridge", torch.zeros(given * fields, channels * fields))
        self.register_buffer("project", torch.zeros(channels * fields, numbers))

    @torch.no_grad()
    def fit(self, x: Tensor, c: Tensor) -> float:
        """Fit to pairs x [M, C, S, S], c [M, Cc, S, S], or to their ``field_means``; returns the share of the
        thumbnails' variance that conditions explain, leave-one-out."""
        t, u = thumbnail(x).double(), thumbnail(c).double()
        n = len(t)
        mean, given_mean = t.mean(0), u.mean(0)
        t, u = t - mean, u - given_mean
        variance = t.square().mean()
        values, vectors = torch.linalg.eigh(u.T @ u)
        values = values.clamp_min(0)
        best, ridge = variance, torch.zeros(u.shape[1], t.shape[1], dtype=t.dtype, device=t.device)
        for strength in (n * 10.0**k for k in range(-5, 3)):
            tried = vectors @ ((vectors.T @ (u.T @ t)) / (values + strength)[:, None])
            leverage = ((u @ vectors).square() / (values + strength)).sum(1, keepdim=True)
            left_out = ((t - u @ tried) / (1 - leverage - 1 / n).clamp_min(1e-3)).square().mean()
            if left_out < best:
                best, ridge = left_out, tried
        _, deviations, components = torch.linalg.svd(t - u @ ridge, full_matrices=False)
        k = min(self.project.shape[1], len(deviations))
        self.mean.copy_(mean)
        self.given_mean.copy_(given_mean)
        self.ridge.copy_(ridge)
        self.project.zero_()
        scale = n**0.5 / deviations[:k].clamp_min(SLIGHT * n**0.5)
        self.project[:, :k] = (components[:k].T * scale).to(self.project)
        return float(1 - best / variance.clamp_min(1e-12))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Differentiable in x."""
        expected = self.mean + (thumbnail(c) - self.given_mean) @ self.ridge
        return (thumbnail(x) - expected) @ self.project

    def tell(self, z: Tensor, x: Tensor, c: Tensor) -> tuple[Tensor, slice]:
        """z [N, D] whose first rows begin with the style of their true picture x; and which rows these are.

        L1 to the truth under a z that has nothing to do with it teaches an initializer to ignore z; so L1
        is asked only of the rows that were told it, the first half (cVAE-GAN's part of BicycleGAN, with a
        fixed linear encoder).
        """
        told = slice((len(x) + 1) // 2)
        code = self(x[told], c[told])
        first = torch.cat([code, z[told, code.shape[1] :]], 1)
        return torch.cat([first, z[told.stop :]]), told


def field_means(x: Tensor) -> Tensor:
    """Means of 4 x 4 fields: [N, C, H, W] -> [N, C, 4, 4]; of themselves, themselves."""
    return F.adaptive_avg_pool2d(x.float(), GRID)


def thumbnail(x: Tensor) -> Tensor:
    """The field means as a vector: [N, C, H, W] -> [N, 16 C]."""
    return field_means(x).flatten(1)
