"""A look at a few drafts: do they vary with z, are they stuck at the ends of the range?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from redraft.core.rng import PictureNoise
from redraft.core.types import Pair
from redraft.training import processes


class Drafts(NamedTuple):
    spread: float  # rms difference of two drafts of one condition, in units of that of two real pictures
    draft_ends: float  # share of the drafts' pixels at -1 or 1
    refined_ends: float  # of the refined pictures'
    real_ends: float  # of the real pictures'
    noisy: bool = True  # whether the initializer takes a z at all


def look(method: nn.Module, batch: Pair, seed: int) -> Drafts:
    """Draft and refine four conditions of a batch twice, always with the same z; means over processes."""
    c, x = batch.condition, batch.target
    n = min(4, len(x))
    twice = None if c is None else c[:n].repeat(2, *[1] * (c.ndim - 1))
    noise = PictureNoise(seed, range(2 * n), x.device)
    sample = method.generate(twice, 2 * n, noise)  # type: ignore[operator]
    values = torch.stack(compare(sample.drafts.float(), sample.images.float(), x))
    processes.average([values])
    return Drafts(*values.tolist())._replace(noisy=_takes_noise(method))


def _takes_noise(method: nn.Module) -> bool:
    """False for an initializer that is deterministic by design, as pix2pix's and CUT's."""
    networks: dict[str, nn.Module] = method.networks  # type: ignore[assignment]
    initializer = networks.get("initializer", getattr(method, "initializer", None))
    return getattr(initializer, "z_shape", None) != (0,)


def compare(drafts: Tensor, refined: Tensor, real: Tensor) -> list[Tensor]:
    """The fields of Drafts; of ``drafts``, ``refined`` [2N, ...] the second N have the first's conditions."""
    one, other = drafts.chunk(2)
    differ = (one - other).square().mean().sqrt()
    usual = (2 * real.var(0, unbiased=len(real) > 1)).mean().sqrt()
    ends = [(x.abs() > 0.99).float().mean() for x in (drafts, refined, real)]
    return [differ / usual.clamp_min(1e-3), *ends]
