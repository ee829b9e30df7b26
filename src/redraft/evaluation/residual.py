"""Has a flow learned what its condition does not say? Then its residual is N(0, I), independent of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from redraft.core.ridge import ridges
from redraft.core.rng import stream
from redraft.evaluation.table import Interval, ends, mean_interval, resample

FOLDS = 5
SHUFFLES = 5  # permutations of the conditions that show what nothing looks like
MOST = 1000  # examples that the regression sees


@dataclass(frozen=True, kw_only=True)
class ResidualTest:
    """What held-out residuals v [N, d] look like; of N(0, I), independent of c, in brackets."""

    examples: int
    numbers: int  # d
    norm: Interval  # E|v|²/d (1); half the squared norm is d/2 where this is 1
    told: Interval  # share of c's variance that v tells of examples left out (0 or less)
    told_shuffled: tuple[float, ...]  # the same, of conditions that belong to other examples
    mean: float  # the largest |mean| of a number, in standard errors (about sqrt(2 ln d))
    deviation: float  # standard deviation of all numbers together (1)
    kurtosis: float  # excess kurtosis of all numbers together (0)

    @property
    def independent(self) -> bool:
        """Whether v tells no more of c than of other examples' conditions, or less than a hundredth."""
        return self.told.low <= max(0.01, *self.told_shuffled)

    def lines(self) -> list[str]:
        """Two sentences for a report."""
        norm, told = self.norm, self.told
        said = "tells nothing of the condition" if self.independent else "still tells of the condition"
        return [
            f"Held-out residuals ({self.examples} of {self.numbers} numbers): E|v|²/d = {norm.value:.3f} "
            f"[{norm.low:.3f}, {norm.high:.3f}], standard deviation {self.deviation:.3f} (both 1 wanted), "
            f"excess kurtosis {self.kurtosis:.2f} (0 wanted).",
            f"The residual {said}: it predicts {told.value:.1%} of the condition's variance "
            f"[{told.low:.1%}, {told.high:.1%}], and {max(self.told_shuffled):.1%} of shuffled conditions'.",
        ]


def residual_test(v: Tensor, c: Tensor, *, seed: int = 0) -> ResidualTest:
    """v [N, ...] of held-out examples, c their condition: vectors [N, D], or categories int64 [N].

    c is regressed on v and on v², the latter because a condition may set how wide v spreads; ridge, penalty
    by examples left out, five folds. At least 20 examples.
    """
    v = v.detach().double().cpu().flatten(1)
    c = _columns(c.detach().cpu())
    n, d = v.shape
    if n != len(c) or n < 20:
        raise ValueError(f"Residuals {tuple(v.shape)} and conditions {tuple(c.shape)}: 20 rows or more each.")
    chosen = torch.randperm(n, generator=stream(seed, "residual", n))[:MOST]
    seen, wanted = _seen(v[chosen]), c[chosen]
    orders = [torch.randperm(len(chosen), generator=stream(seed, "shuffle", k)) for k in range(SHUFFLES)]
    told, *shuffled = _told(seen, [wanted, *(wanted[order] for order in orders)])
    z = (v - v.mean()) / v.std().clamp_min(1e-12)
    error = v.std(0).clamp_min(1e-12) / n**0.5
    return ResidualTest(
        examples=n,
        numbers=d,
        norm=mean_interval(v.square().mean(1)),
        told=told,
        told_shuffled=tuple(of.value for of in shuffled),
        mean=float((v.mean(0) / error).abs().max()),
        deviation=float(v.std()),
        kurtosis=float(z.pow(4).mean() - 3),
    )


def _columns(c: Tensor) -> Tensor:
    """Categories as one-hot columns; vectors [N, D] with each column that varies at one scale."""
    if c.ndim == 1:
        c = (c[:, None] == c.unique()).double()
    c = c.double().flatten(1)
    spread = c.std(0)
    c = (c - c.mean(0))[:, spread > 1e-9] / spread[spread > 1e-9]
    return c if c.shape[1] else torch.zeros(len(c), 1, dtype=c.dtype)


def _seen(v: Tensor) -> Tensor:
    """v and its squares, at one scale."""
    both = torch.cat([v, v.square()], 1)
    return (both - both.mean(0)) / both.std(0).clamp_min(1e-9)


def _told(x: Tensor, ys: Sequence[Tensor]) -> list[Interval]:
    """For each y the share of its variance that x tells: each of five folds predicted from the others."""
    fold = torch.arange(len(x)) % FOLDS
    error, plain = torch.empty(len(ys), len(x)).double(), torch.empty(len(ys), len(x)).double()
    for k in range(FOLDS):
        known, left = fold != k, fold == k
        for i, found in enumerate(ridges(x[known], [y[known] for y in ys])):
            error[i, left] = (found(x[left]) - ys[i][left]).square().sum(1)
            plain[i, left] = (found.mean_y - ys[i][left]).square().sum(1)
    return [_share(e, p) for e, p in zip(error, plain, strict=True)]


def _share(error: Tensor, plain: Tensor) -> Interval:
    """1 − error / plain of rows [N], with the bootstrap's interval."""
    chosen = resample(len(error), 1000)
    draws = 1 - error[chosen].sum(1) / plain[chosen].sum(1).clamp_min(1e-12)
    return Interval(float(1 - error.sum() / plain.sum().clamp_min(1e-12)), *ends(draws))
