"""Losses as equation-numbered functions. f = −E throughout the papers; here energies, lower = data."""

from __future__ import annotations

from torch import Tensor


def likelihood(e_data: Tensor, e_refined: Tensor) -> Tensor:
    """mean E(x_obs) − mean E(x̃): its gradient is that of −log p (CoopNets eq. 6; CCoopNets eq. 7).

    Both [N]; x̃ are samples of the model, here the refined drafts.
    """
    return e_data.mean() - e_refined.mean()


def mismatch(e_data: Tensor, e_wrong: Tensor) -> Tensor:
    """mean E(x_obs, c) − mean E(x_obs, wrong c): real pictures under other pictures' conditions.

    Not maximum likelihood: it adds log p(x|c) − log p(x|c′), which sharpens p(x|c) as classifier
    guidance does. Ours; measured in docs/results.
    """
    return e_data.mean() - e_wrong.mean()


def magnitude(*energies: Tensor) -> Tensor:
    """mean E² over all energies of the step: fixes the free constant of E (IGEBM, α = 1 there)."""
    return sum((e.square().mean() for e in energies), start=energies[0].new_zeros(())) / len(energies)


def teaching(x_slow: Tensor, x_fast: Tensor, sigma: float) -> Tensor:
    """‖x̃ − g(z, c)‖² / 2σ², summed over pixels, mean over the batch: MCMC teaching (CoopNets eq. 12)."""
    return (x_slow - x_fast).square().flatten(1).sum(1).mean() / (2 * sigma**2)


def truth_l1(x: Tensor, x_fast: Tensor) -> Tensor:
    """|x_obs − g(z, c)|, summed over pixels, mean over the batch.

    The released CCoopNets code adds this term *summed over the batch* beside a teaching term
    averaged over it, so at batch 50 it outweighs teaching 11 to 22 times: L1 regression in effect.
    Here both are averaged, so its weight means what it says.
    """
    return (x - x_fast).abs().flatten(1).sum(1).mean()
