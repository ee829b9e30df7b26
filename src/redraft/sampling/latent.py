"""Langevin inference of the latent z of a generator, given a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from redraft.core.rng import Noise


@dataclass(frozen=True, kw_only=True)
class Latent:
    steps: int = 0  # ℓ_G; the papers' algorithm has it; 0 in effect in their releases, SalCoopNets 3
    delta: float = 0.01  # δ_z, step size; SalCoopNets 0.1, which diverges on 64 px (see infer_latent)


def infer_latent(
    generate: Callable[[Tensor], Tensor],
    z: Tensor,
    x: Tensor,
    cfg: Latent,
    sigma: float,
    rng: Noise,
) -> Tensor:
    """Langevin on p(z|x) ∝ N(z; 0, I) N(x; g(z), σ²I) from z [N, ...] (CoopNets).

    The likelihood is summed over each picture's pixels; the TensorFlow releases average it over
    the batch inside ∇_z, which weakens it by the batch size. So the step must be small: it is stable while
    δ_z² < 4 σ² / λ, λ the largest eigenvalue of JᵀJ, J = ∂g/∂z (2,000 to 8,000 for our U-Nets at 64 px).
    """
    z = z.detach()
    for _ in range(cfg.steps):
        with torch.enable_grad():  # whatever the caller's mode
            here = z.detach().requires_grad_()
            misfit = (x - generate(here)).square().sum() / (2 * sigma**2)
            (gradient,) = torch.autograd.grad(misfit, here)
        z = z - (cfg.delta**2 / 2) * (z + gradient) + cfg.delta * rng.normal(*z.shape)
    return z.detach()
