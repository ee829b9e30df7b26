"""Principal components in closed form."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NOTHING = 1e-10  # of the largest variance: components with less are rounding errors


class Principal(NamedTuple):
    """x ≈ mean + u @ axes, u = (x − mean) @ axes.T; all float64."""

    mean: Tensor  # [D]
    axes: Tensor  # [R, D], orthonormal, the largest variance first
    spread: Tensor  # [R] standard deviations of u


def principal(x: Tensor, most: int) -> Principal:
    """The first ``most`` components of x [N, D], fewer where x has fewer; a function of x, signs too."""
    u = x.double()
    mean = u.mean(0)
    u = u - mean
    few = len(u) < u.shape[1]  # then the smaller of the two squares is of the examples
    values, vectors = torch.linalg.eigh(u @ u.T if few else u.T @ u)
    keep = values > NOTHING * values[-1].clamp_min(1e-300)
    values, vectors = values[keep].flip(0)[:most], vectors[:, keep].flip(1)[:, :most]
    axes = (u.T @ vectors / values.sqrt()).T if few else vectors.T
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    return Principal(mean, axes.contiguous(), (values / len(u)).sqrt())
