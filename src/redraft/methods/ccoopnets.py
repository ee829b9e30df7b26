"""CCoopNets: cooperative training of fast thinking initializer and slow thinking solver.

Xie, Zheng, Fang, Zhu, Wu. "Cooperative Training of Fast Thinking Initializer and Slow Thinking
Solver for Conditional Learning", TPAMI 2021, arXiv:1902.02812. Algorithm 1 is ``CCoopNets.step``.

    solver        p(x|c) ∝ exp(−E_θ(x, c))               refines a draft by Langevin dynamics
    initializer   x = g_α(z, c) + σ ε,  z ~ N(0, I)       drafts in one pass
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from redraft import losses
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.method import Keep, Sample, Update, frozen, keep_nothing
from redraft.sampling.langevin import Chain, Langevin, langevin
from redraft.sampling.latent import Latent, infer_latent


class CCoopNets(nn.Module):
    @dataclass(frozen=True, kw_only=True)
    class Config:
        langevin: Langevin = Langevin()
        latent: Latent = Latent()  # Langevin on z before teaching (ℓ_G); 0 steps as released
        sigma: float = 0.3  # σ of the initializer's law; released code 0.3
        data_noise: float = 0.03  # sd of noise on real pictures; short-run MCMC 0.03, papers 0
        wrong_conditions: float = 0.5  # weight of real pictures under wrong c as negatives; papers 0
        energy_magnitude: float = 0.05  # weight of mean E²; IGEBM 1, JEM's author 0.1, papers 0
        truth_l1: float = 0.0  # weight of |x_obs − g|; released img2img code: see losses.truth_l1

    def __init__(
        self,
        cfg: Config,
        *,
        solver: nn.Module,
        initializer: nn.Module,
        keep: Keep = keep_nothing,
    ) -> None:
        super().__init__()
        self.cfg, self.solver, self.initializer, self.keep = cfg, solver, initializer, keep

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"solver": self.solver, "initializer": self.initializer}

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        cfg, (c, x) = self.cfg, batch
        z = rng.normal(len(x), *self.initializer.z_shape)
        x_fast = self.draft(z, c)  # fast thinking: initialise
        chain = self.think(x_fast, c, rng)  # slow thinking: K Langevin steps on E_θ(·, c)
        x_slow = chain.x

        e_data, e_slow, e_wrong = self._energies(x, x_slow, c, rng)
        loss_solver = losses.likelihood(e_data, e_slow)
        loss_solver = loss_solver + cfg.wrong_conditions * losses.mismatch(e_data, e_wrong)
        loss_solver = loss_solver + cfg.energy_magnitude * losses.magnitude(e_data, e_slow, e_wrong)

        if cfg.latent.steps:  # let z explain what the solver did
            z = infer_latent(lambda z: self.draft(z, c), z, x_slow, cfg.latent, cfg.sigma, rng)
            x_fast = self.draft(z, c)
        loss_initializer = losses.teaching(x_slow, x_fast, cfg.sigma)  # learn from the solver
        if cfg.truth_l1:
            loss_initializer = loss_initializer + cfg.truth_l1 * losses.truth_l1(x, x_fast)

        update(self.solver, loss_solver)
        update(self.initializer, loss_initializer)
        return {
            "loss_solver": loss_solver,
            "loss_initializer": loss_initializer,
            "energy_data": e_data.mean(),
            "energy_draft": chain.energies[0].mean() if len(chain.energies) else e_slow.mean(),
            "energy_refined": e_slow.mean(),
            "energy_wrong": e_wrong.mean(),
            "move": chain.move,
            "drift": chain.drift,
        }

    def draft(self, z: Tensor, c: Tensor | None) -> Tensor:
        """g(z, c) with what c fixes put back, [N, C, H, W]."""
        return self.keep(self.initializer(z, c), c)

    def think(
        self, x: Tensor, c: Tensor | None, rng: Noise, steps: int | None = None, trace: bool = False
    ) -> Chain:
        """The solver's chain from x; the condition is encoded once."""
        with frozen(self.solver):
            return langevin(
                self.solver.given(c),
                x,
                self.cfg.langevin,
                rng,
                steps=steps,
                keep=lambda x: self.keep(x, c),
                trace=trace,
            )

    def _energies(
        self, x: Tensor, x_slow: Tensor, c: Tensor | None, rng: Noise
    ) -> tuple[Tensor, Tensor, Tensor]:
        """E(x, c), E(x̃, c) and E(x, wrong c) in one pass; wrong c = the batch's rolled by one."""
        noisy = x + self.cfg.data_noise * rng.normal(*x.shape) if self.cfg.data_noise else x
        code = self.solver.encode(c)
        code = tuple(torch.cat([k, k, k.roll(1, 0)]) for k in code)
        return self.solver(torch.cat([noisy, x_slow, noisy]), code).chunk(3)

    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        with torch.no_grad():
            drafts = self.draft(rng.normal(n, *self.initializer.z_shape), c)
        chain = self.think(drafts, c, rng, refine, trace)
        energies = self.energy(chain.x, c)
        first = chain.energies[0] if len(chain.energies) else energies
        return Sample(drafts, chain.x, first, energies, chain.trace, chain.energies)

    @torch.no_grad()
    def energy(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self.solver.given(c)(x)
