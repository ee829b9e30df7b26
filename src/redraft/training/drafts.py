"""A look at a few drafts: do they vary with z and condition, are they stuck at the ends of the range?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from redraft.core.rng import PictureNoise
from redraft.core.types import Pair
from redraft.training import processes

PICTURES = 8  # real ones that are needed to know how far apart they lie


class Drafts(NamedTuple):
    """Distances are root mean squares over pixels and pairs, in units of that of two real pictures."""

    spread: float | None  # of two drafts of one condition; None where it has but one
    variety: float  # of two drafts with other z and other conditions
    draft_ends: float  # share of the drafts' pixels at -1 or 1
    refined_ends: float  # of the refined pictures'
    real_ends: float  # of the real pictures'


def look(method: nn.Module, real: Pair, seed: int) -> Drafts:
    """Draft and refine four of the conditions twice, always with the same z; means over processes."""
    c, x = real.condition, real.target
    n = min(4, len(x))
    twice = None if c is None else c[:n].repeat(2, *[1] * (c.ndim - 1))
    noise = PictureNoise(seed, range(2 * n), x.device)
    sample = method.generate(twice, 2 * n, noise)  # type: ignore[operator]
    values = torch.stack(compare(sample.drafts.float(), sample.images.float(), x))
    processes.average([values])
    seen = Drafts(*values.tolist())
    return seen if _takes_noise(method) else seen._replace(spread=None)


def _takes_noise(method: nn.Module) -> bool:
    """False where drafts are deterministic by design: pix2pix's, CUT's, a fusion's of domains."""
    networks: dict[str, nn.Module] = method.networks  # type: ignore[assignment]
    initializer = networks.get("initializer", getattr(method, "initializer", None))
    return getattr(initializer, "z_shape", None) != (0,) and not getattr(method, "domains", False)


def compare(drafts: Tensor, refined: Tensor, real: Tensor) -> list[Tensor]:
    """The fields of Drafts. Of ``drafts`` and ``refined`` [2N, ...], N > 1, the second N have the first's
    conditions."""
    one, other = drafts.chunk(2)
    spread = (one - other).square().mean().sqrt()
    apart = (drafts[:, None] - drafts).square().flatten(2).mean(2)  # [2N, 2N]
    condition = torch.arange(len(drafts), device=drafts.device) % len(one)
    variety = apart[condition[:, None] != condition].mean().sqrt()
    usual = (2 * real.var(0, unbiased=len(real) > 1)).mean().sqrt().clamp_min(1e-3)
    ends = [(x.abs() > 0.99).float().mean() for x in (drafts, refined, real)]
    return [spread / usual, variety / usual, *ends]
