"""Distances of two sets of pictures by their features [N, D] and [M, D]; float64 inside."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from redraft.core.rng import stream
from redraft.evaluation.table import Interval

CHUNK = 1024  # rows of a distance or kernel matrix that are in memory at a time


class FewPictures(UserWarning):
    """A number was computed of fewer pictures than it takes to be trusted."""


def kid(a: Tensor, b: Tensor, *, rounds: int = 200, seed: int = 0) -> Interval:
    """Kernel distance: the unbiased squared MMD under k(x, y) = (x·y / D + 1)³; 0 for one law.

    Bińkowski et al. 2018, arXiv:1801.01401, eq. 4 (they average over blocks; this uses all pictures at
    once). The 95 % interval is from half-samples drawn without replacement, whose spread about the whole is
    that of the whole about the truth (Politis & Romano 1994). It can be negative: it is unbiased.
    """
    a, b = a.double(), b.double()
    wa, wb = _halves(len(a), rounds, seed).to(a), _halves(len(b), rounds, seed + 1).to(b)
    aa, bb = _within(a, wa), _within(b, wb)
    ab = sum((wa[rows] * (_kernel(a[rows], b) @ wb)).sum(0) for rows in _chunks(len(a))) / (
        wa.sum(0) * wb.sum(0)
    )
    draws = aa + bb - 2 * ab
    value = draws[0].item()
    spread = 1.96 * (draws[1:] - value).square().mean().sqrt().item()
    return Interval(value, value - spread, value + spread)


def _halves(n: int, rounds: int, seed: int) -> Tensor:
    """Weights [n, 1 + rounds]: all pictures first, then random halves (at least two pictures)."""
    if n < 2:
        raise ValueError("a kernel distance takes two pictures a side")
    order = torch.rand(rounds, n, generator=stream(seed, "halves", n)).argsort(1).argsort(1)
    return torch.cat([torch.ones(n, 1), (order < max(2, n // 2)).double().T], 1)


def _within(x: Tensor, w: Tensor) -> Tensor:
    """Mean kernel of distinct pictures of one set, for each column of weights."""
    total = sum((w[rows] * (_kernel(x[rows], x) @ w)).sum(0) for rows in _chunks(len(x)))
    self_terms = w.T @ (x.square().mean(1) + 1) ** 3
    n = w.sum(0)
    return (total - self_terms) / (n * (n - 1))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of the Gaussians with the sets' means and covariances (Heusel et al. 2017).

        |μa − μb|² + tr(Σa + Σb − 2 (Σa Σb)^½)

    The root's trace by symmetric eigendecompositions, tr (Σa^½ Σb Σa^½)^½, or, of fewer pictures than
    features, as the sum of the singular values of A Bᵀ [N, M], where Σa = Aᵀ A and Σb = Bᵀ B: the same value
    as a matrix square root's, ten times as fast and never complex. Biased upwards by some D/N: with fewer
    pictures than features it warns (FewPictures), and the kernel distance is the one to read.
    """
    a, b = a.double(), b.double()
    fewest = min(len(a), len(b))
    if fewest < 2:
        raise ValueError("a Fréchet distance takes two pictures a side")
    if fewest <= a.shape[1]:
        text = f"Fréchet distance of {fewest} pictures in {a.shape[1]} features is mostly bias."
        warnings.warn(text, FewPictures, stacklevel=2)
    gap = (a.mean(0) - b.mean(0)).square().sum()
    a, b = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (a, b))
    cross = _few_roots(a, b) if max(len(a), len(b)) <= a.shape[1] else _roots(a, b)
    return (gap + a.square().sum() + b.square().sum() - 2 * cross).clamp_min(0).item()


def _few_roots(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.svdvals(a @ b.T).sum()


def _roots(a: Tensor, b: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(a.T @ a)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    inner = root @ (b.T @ b) @ root
    return torch.linalg.eigvalsh((inner + inner.T) / 2).clamp_min(0).sqrt().sum()


@dataclass(frozen=True)
class Manifold:
    """One value a picture, so that intervals can be had by resampling."""

    precision: Tensor  # [N made] 1 = lies among the real
    recall: Tensor  # [M real] 1 = lies among the made
    density: Tensor  # [N made] how many real neighbourhoods hold it, over k
    coverage: Tensor  # [M real] 1 = something made lies in its neighbourhood


def manifold(made: Tensor, real: Tensor, k: int = 5) -> Manifold:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    A picture's neighbourhood is the ball to its k-th nearest other picture of its own set. Sets of k
    pictures or fewer use the farthest there is.
    """
    made, real = made.double(), real.double()
    ball_made, ball_real = _radius(made, k), _radius(real, k)
    inside_real, density = [], []
    recall = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    nearest = torch.full((len(real),), torch.inf, dtype=torch.float64, device=real.device)
    for rows in _chunks(len(made)):
        gap = distance(made[rows], real)
        within = gap <= ball_real
        inside_real.append(within.any(1))
        density.append(within.double().sum(1) / k)
        recall |= (gap <= ball_made[rows, None]).any(0)
        nearest = torch.minimum(nearest, gap.amin(0))
    return Manifold(
        torch.cat(inside_real).double(), recall.double(), torch.cat(density), (nearest <= ball_real).double()
    )


def _radius(x: Tensor, k: int) -> Tensor:
    k = min(k, len(x) - 1)
    if k < 1:
        raise ValueError("neighbourhoods take two pictures a set")
    # the smallest distance is a picture's to itself
    return torch.cat([distance(x[rows], x).kthvalue(k + 1).values for rows in _chunks(len(x))])


def distance(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances [N, M], exact (no matrix product shortcut, which loses small ones)."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def nearest(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """For each of x [N, D] the distance to the nearest of y [M, D], and its index.

    Found by a matrix product in float64, which is quick; the distance itself is then taken exactly.
    """
    x, y = x.double(), y.double()
    middle = y.mean(0)
    x, y = x - middle, y - middle
    length = y.square().sum(1) / 2
    index = torch.cat([(length - x[rows] @ y.T).argmin(1) for rows in _chunks(len(x))])
    return (x - y[index]).square().sum(1).sqrt(), index


def _chunks(n: int) -> Iterator[slice]:
    return (slice(i, i + CHUNK) for i in range(0, n, CHUNK))
