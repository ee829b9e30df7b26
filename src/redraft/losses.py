"""Losses under their names in the papers. f = −E throughout the papers; here energies, lower = data."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu, softplus


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


class Adversarial(NamedTuple):
    """What both players descend; logits of any shape, higher = taken for real."""

    discriminator: Callable[[Tensor, Tensor], Tensor]  # (logits of real, of made) -> loss
    generator: Callable[[Tensor], Tensor]  # logits of made -> loss


NONSATURATING = Adversarial(  # Goodfellow et al. 2014, arXiv:1406.2661, section 3
    lambda real, made: softplus(-real).mean() + softplus(made).mean(), lambda made: softplus(-made).mean()
)
HINGE = Adversarial(  # Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957
    lambda real, made: relu(1 - real).mean() + relu(1 + made).mean(), lambda made: -made.mean()
)
WASSERSTEIN = Adversarial(  # Arjovsky et al. 2017, arXiv:1701.07875; to be used with ``gradient_penalty``
    lambda real, made: made.mean() - real.mean(), lambda made: -made.mean()
)
LEAST_SQUARES = Adversarial(  # Mao et al. 2017, arXiv:1611.04076, with 1 for real and 0 for made
    lambda real, made: (real - 1).square().mean() + made.square().mean(),
    lambda made: (made - 1).square().mean(),
)


def r1(logit: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """½ mean ‖∇ logit(x)‖² over real pictures x [N, ...] (R1: Mescheder et al. 2018, arXiv:1801.04406).

    ``logit``: x -> one number a picture, [N]. Differentiable in the discriminator's weights.
    """
    return 0.5 * _slope(logit, x).square().sum(1).mean()


def gradient_penalty(logit: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """mean (‖∇ logit(x)‖ − 1)² on pictures between real and made (WGAN-GP: Gulrajani et al. 2017,
    arXiv:1704.00028). ``logit`` as in ``r1``."""
    return (_slope(logit, x).norm(dim=1) - 1).square().mean()


def _slope(logit: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(logit(x).sum(), x, create_graph=True)
    return slope.flatten(1)


def patch_nce(query: Tensor, key: Tensor, temperature: float = 0.07) -> Tensor:
    """PatchNCE: each query's own patch among all patches of its picture (CUT: Park et al. 2020,
    arXiv:2007.15651).

    ``query``, ``key`` [N, P, D], unit vectors; row p of both belongs to one place. The key takes no
    gradient, as in the authors' code. 0 when every patch is told from the others, log P by chance.
    """
    scores = query @ key.detach().transpose(1, 2) / temperature
    own = torch.arange(scores.shape[1], device=scores.device).expand(len(scores), -1)
    return cross_entropy(scores.flatten(0, 1), own.flatten())
