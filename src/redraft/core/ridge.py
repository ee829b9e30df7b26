"""Ridge regression in closed form, the penalty chosen by the error on examples left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

STRENGTHS = tuple(10 ** (k / 2) for k in range(-12, 5))  # penalties, as parts of the largest eigenvalue


class Ridge(NamedTuple):
    """y = mean_y + (x − mean) @ weights; all float64."""

    mean: Tensor  # [D]
    mean_y: Tensor  # [K]
    weights: Tensor  # [D, K]; zeros where nothing beats the mean
    strength: float  # the penalty, as a part of the largest eigenvalue; inf where nothing beats the mean
    told: float  # share of y's variance that is told of examples left out, each by all the others

    def __call__(self, x: Tensor) -> Tensor:
        """[N, D] -> [N, K] float64."""
        return self.mean_y + (x.double() - self.mean) @ self.weights


def ridge(x: Tensor, y: Tensor) -> Ridge:
    """Fit y [N, K] to x [N, D]; leave-one-out errors in closed form (Allen's PRESS), D may exceed N.

    Columns are taken as they are: bring x's to one scale first.
    """
    return ridges(x, [y])[0]


def ridges(x: Tensor, ys: Sequence[Tensor]) -> list[Ridge]:
    """Several fits to one x [N, D], each with its own penalty; x is decomposed once."""
    mean = x.double().mean(0)
    spectrum = _spectrum(x.double() - mean)
    return [_fit(mean, y.double(), *spectrum) for y in ys]


def _fit(mean: Tensor, y: Tensor, values: Tensor, across: Tensor, back: Tensor) -> Ridge:
    mean_y, n = y.mean(0), len(y)
    t = y - mean_y
    along = across.T @ t
    variance = float((t * n / (n - 1)).square().sum())  # of each from the mean of all others
    best, strength, weights = variance, float("inf"), torch.zeros_like(along)
    for tried in STRENGTHS:
        shrunk = 1 / (values + tried * values.max().clamp_min(1e-12))
        leverage = (across.square() * shrunk).sum(1, keepdim=True) + 1 / n
        left_out = (t - across @ (shrunk[:, None] * along)) / (1 - leverage).clamp_min(1e-6)
        if (error := float(left_out.square().sum())) < best:
            best, strength, weights = error, tried, shrunk[:, None] * along
    return Ridge(mean, mean_y, back @ weights, strength, 1 - best / max(variance, 1e-300))


def _spectrum(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues [R], u along the eigenvectors [N, R], and the eigenvectors [D, R], by the smaller side."""
    if u.shape[1] <= len(u):
        values, vectors = torch.linalg.eigh(u.T @ u)
        return values.clamp_min(0), u @ vectors, vectors
    values, vectors = torch.linalg.eigh(u @ u.T)
    values = values.clamp_min(0)
    root = values.sqrt()
    return (
        values,
        vectors * root,
        u.T @ (vectors / root.clamp_min(1e-9 * float(root.max().clamp_min(1e-300)))),
    )
