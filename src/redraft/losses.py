"""Losses under their names in the papers. f = −E throughout the papers; here energies, lower = data."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus


def likelihood(e_data: Tensor, e_refined: Tensor) -> Tensor:
    """mean E(x_obs) − mean E(x̃): its gradient is that of −log p (CoopNets, CCoopNets).

    Both [N]; x̃ are samples of the model, here the refined drafts.
    """
    return e_data.mean() - e_refined.mean()


def saturating(e_data: Tensor, e_refined: Tensor) -> Tensor:
    """mean 2 softplus(E(x_obs) − E(x̃)): ``likelihood`` whose push fades once x_obs and x̃ are told apart.

    Its gradient is that of ``likelihood`` weighted by 2 sigmoid(E(x_obs) − E(x̃)): 1 where both score alike,
    toward 0 where the solver has outrun its short chains, which otherwise pushes energies apart without end.
    It is the logistic loss of telling data from refined drafts pair by pair (twice the discriminator's loss
    of the relativistic standard GAN, Jolicoeur-Martineau 2018, arXiv:1807.00734), not maximum likelihood.
    Its use for a cooperative energy is ours; measured in docs/log.md.
    """
    return 2 * softplus(e_data - e_refined).mean()


def mismatch(e_data: Tensor, e_wrong: Tensor, wrong: Tensor) -> Tensor:
    """mean 2 softplus(E(x_obs, c) − E(x_obs, c′)): real pictures under other pictures' conditions c′.

    Twice the logistic loss of telling c from c′ on x_obs, so that its slope is that of the plain difference
    as long as both score alike, and it stops pushing once they are told apart. Not maximum
    likelihood: it sharpens p(x|c) as classifier guidance does. The matching-aware discriminator (Reed et
    al. 2016, arXiv:1605.05396) has such negatives; their use for an energy is ours, measured in docs/log.md.
    All [N]; ``wrong`` is 0 where c′ is c by chance, which then does not count.
    """
    return (2 * softplus(e_data - e_wrong) * wrong).sum() / wrong.sum().clamp_min(1)


def magnitude(*energies: Tensor) -> Tensor:
    """mean E² over all energies of the step: fixes the free constant of E (IGEBM, α = 1 there)."""
    return sum((e.square().mean() for e in energies), start=energies[0].new_zeros(())) / len(energies)


def teaching(x_slow: Tensor, x_fast: Tensor, sigma: float) -> Tensor:
    """‖x̃ − g(z, c)‖² / 2σ², summed over pixels, mean over the batch: MCMC teaching (CoopNets)."""
    return (x_slow - x_fast).square().flatten(1).sum(1).mean() / (2 * sigma**2)


def read_back(code: Tensor, z: Tensor, pixels: int) -> Tensor:
    """‖style(g(z, c)) − z‖², mean over all numbers, times the pixels so that it scales as teaching does.

    Latent regression (BicycleGAN's cLR-GAN, arXiv:1711.11586): what z asks for must be seen in the draft.
    """
    return pixels * (code - z).square().mean()


def truth_l1(x: Tensor, x_fast: Tensor) -> Tensor:
    """|x_obs − g(z, c)|, summed over pixels, mean over the batch.

    The released CCoopNets code adds this term *summed over the batch* beside a teaching term
    averaged over it, so at batch 50 it outweighs teaching 11 to 22 times: L1 regression in effect.
    Here both are averaged, so its weight means what it says.
    """
    return (x - x_fast).abs().flatten(1).sum(1).mean()
