"""What an energy is worth: its place among those of real pictures, and how it goes with the true error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.core.rng import stream
from redraft.evaluation.distances import nearest
from redraft.evaluation.table import Interval, ends, resample

MOST = 2000  # training conditions that a bundle remembers
UNLIKE = 0.99  # a condition farther from training than this share of held-out ones is flagged


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a bundle remembers of real pairs: made by ``of``, carried by ``tensors`` and ``read``."""

    energies: Tensor  # [M] of held-out real pairs, ascending
    conditions: Tensor  # [T, D] descriptors of training conditions; [0, 0] where they are no pictures
    distances: Tensor  # [M] of held-out conditions to their nearest training condition, ascending

    @staticmethod
    def of(energies: Tensor, train_c: Tensor | None, held_out_c: Tensor | None) -> Calibration:
        """energies [M] of held-out real pairs; conditions [N, Cc, H, W] (others have no novelty)."""
        energies = energies.detach().double().cpu().sort().values
        if train_c is None or held_out_c is None or train_c.ndim != 4:
            return Calibration(energies=energies, conditions=torch.zeros(0, 0), distances=torch.zeros(0))
        if len(train_c) > MOST:
            chosen = torch.randperm(len(train_c), generator=stream(0, "calibration"))[:MOST]
            train_c = train_c[chosen.to(train_c.device)]
        known = descriptor(train_c).cpu()
        gap = nearest(descriptor(held_out_c).cpu(), known)[0]
        return Calibration(energies=energies, conditions=known, distances=gap.sort().values)

    @property
    def reliable(self) -> bool:
        """Whether there are enough held-out energies (20) for ``better_than`` to be fine enough."""
        return len(self.energies) >= 20

    def better_than(self, energies: Tensor) -> Tensor:
        """Share [N] of real held-out pairs with a higher energy; ties count half. NaN without any."""
        if not len(self.energies):
            return torch.full((len(energies),), torch.nan, dtype=torch.float64)
        return 1 - _place(energies, self.energies)

    def novelty(self, c: Tensor | None) -> Tensor | None:
        """Share [N] of held-out conditions that are nearer to training than these; None where unknown."""
        if c is None or c.ndim != 4 or not len(self.distances):
            return None
        return _place(nearest(descriptor(c).cpu(), self.conditions)[0], self.distances)

    def unlike(self, c: Tensor | None) -> Tensor:
        """True [N] for conditions unlike anything seen: beyond the 99th percentile of held-out ones."""
        place = self.novelty(c)
        if place is None:
            return torch.zeros(0 if c is None else len(c), dtype=torch.bool)
        return place > UNLIKE

    def tensors(self) -> dict[str, Tensor]:
        return {
            "energies": self.energies,
            "conditions": self.conditions.half(),
            "distances": self.distances.float(),
        }

    @staticmethod
    def read(tensors: Mapping[str, Tensor]) -> Calibration:
        return Calibration(
            energies=tensors["energies"].double(),
            conditions=tensors["conditions"].float(),
            distances=tensors["distances"].float(),
        )


def descriptor(c: Tensor) -> Tensor:
    """Pictures or label shares [N, Cc, H, W] -> [N, D]: mean and contrast in 8 x 8 fields, float32.

    Contrast, because the means alone make noise look like plain grey.
    """
    side = min(8, *c.shape[-2:])
    mean = F.adaptive_avg_pool2d(c.float(), side)
    contrast = (F.adaptive_avg_pool2d(c.float().square(), side) - mean.square()).clamp_min(0).sqrt()
    return torch.cat([mean, contrast], 1).flatten(1)


def rank_correlation(a: Tensor, b: Tensor) -> Interval:
    """Spearman's rho of a and b [N], ties sharing their mean rank, with the bootstrap's 95 % interval.

    NaN when either is constant.
    """
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    chosen = resample(len(a), 1000)
    draws = _pearson(_ranks(a[chosen]), _ranks(b[chosen]))
    draws = draws[draws.isfinite()]
    value = _pearson(_ranks(a[None]), _ranks(b[None])).item()
    return Interval(value, *(ends(draws) if len(draws) else (value, value)))


def _ranks(x: Tensor) -> Tensor:
    """Mean ranks along the last dimension of [B, N]."""
    ordered = x.sort(-1).values
    below = torch.searchsorted(ordered, x.contiguous(), right=False)
    up_to = torch.searchsorted(ordered, x.contiguous(), right=True)
    return (below + up_to).double() / 2


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1)).sqrt()


def _place(x: Tensor, among: Tensor) -> Tensor:
    """Share of ``among`` (ascending) that is smaller than each x, ties half: float64 [N]."""
    x = x.detach().to(among).contiguous()
    below = torch.searchsorted(among, x, right=False)
    up_to = torch.searchsorted(among, x, right=True)
    return (below + up_to).double() / (2 * len(among))
