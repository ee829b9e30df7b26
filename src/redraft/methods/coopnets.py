"""CoopNets: cooperative training of descriptor and generator networks.

Xie, Lu, Gao, Zhu, Wu. "Cooperative Training of Descriptor and Generator Networks", TPAMI 2018,
arXiv:1609.09408. Its algorithm box is ``CoopNets.step``; D and G number the box's steps.

    descriptor    p(x) ∝ exp(−E_θ(x))                  the solver
    generator     x = g_α(z) + σ ε,  z ~ N(0, I)        the initializer
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from redraft import losses
from redraft.augment import diff_augment, draw
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.method import Sample, Update, keep_nothing
from redraft.methods.thinking import draft_and_refine, think
from redraft.nets.parts import Energy, Initializer
from redraft.sampling.langevin import Langevin
from redraft.sampling.latent import Latent, infer_latent
from redraft.sampling.pool import Pool


class CoopNets(nn.Module):
    """The descriptor θ (solver) and the generator α (initializer), and how a step teaches both."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        langevin: Langevin = Langevin()
        latent: Latent = Latent()  # G1, Langevin on z before teaching; 0 steps as released
        sigma: float = 0.3  # σ of the generator's law; released code 0.3
        saturate: bool = True  # losses.saturating in place of losses.likelihood, the paper's
        data_noise: float = 0.03  # sd of noise on real pictures; short-run MCMC 0.03, papers 0
        energy_magnitude: float = 0.05  # weight of mean E²; IGEBM 1, JEM's author 0.1, papers 0
        diff_augment: bool = False  # DiffAugment on what the descriptor learns from, for few pictures
        persistent: float = 0.0  # share of chains that go on from the pool; IGEBM 0.95
        restart: float = 0.05  # share of those that start anew from a draft; IGEBM 0.05

    def __init__(
        self, cfg: Config, *, solver: Energy, initializer: Initializer, pool: Pool | None = None
    ) -> None:
        super().__init__()
        self.cfg, self.solver, self.initializer, self.pool = cfg, solver, initializer, pool

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"solver": self.solver, "initializer": self.initializer}

    stage = ""

    @property
    def refine_steps(self) -> int:
        return self.cfg.langevin.steps

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        cfg, x = self.cfg, batch.target
        z = rng.normal(len(x), *self.initializer.z_shape)
        u = draw(len(x), rng) if cfg.diff_augment else None
        x_hat = self.initializer(z, None)  # G0: draft
        chain = think(self.solver, x_hat, None, cfg.langevin, rng, keep=keep_nothing, u=u)
        x_tilde = chain.x  # D1: revise the draft by K Langevin steps

        e_data, e_model = self._energies(x, self._persist(x_tilde, rng, u), rng, u)
        contrast = losses.saturating if cfg.saturate else losses.likelihood
        loss_solver = contrast(e_data, e_model)  # D2: shift the density to the data
        loss_solver = loss_solver + cfg.energy_magnitude * losses.magnitude(e_data, e_model)

        if cfg.latent.steps:  # G1: infer the z of the revised picture
            z = infer_latent(lambda z: self.initializer(z, None), z, x_tilde, cfg.latent, cfg.sigma, rng)
            x_hat = self.initializer(z, None)
        loss_initializer = losses.teaching(x_tilde, x_hat, cfg.sigma)  # G2: learn from the revision

        update(self.solver, loss_solver)
        update(self.initializer, loss_initializer)
        return {
            "loss_solver": loss_solver,
            "loss_initializer": loss_initializer,
            "energy_data": e_data.mean(),
            "energy_draft": chain.energies[:1].mean(),
            "energy_refined": e_model.mean(),
            "move": chain.move,
            "drift": chain.drift,
        }

    def _persist(self, x: Tensor, rng: Noise, u: Tensor | None) -> Tensor:
        """The model's samples: x̃, a share of them replaced by chains that go on from earlier steps."""
        if self.pool is None:
            return x
        start, _, goes_on = self.pool.swap_in(x, None, self.cfg.persistent, self.cfg.restart, rng)
        chain = think(self.solver, start, None, self.cfg.langevin, rng, keep=keep_nothing, u=u)
        x = torch.where(goes_on[:, None, None, None], chain.x, x)
        self.pool.put(x, None)
        return x

    def _energies(self, x: Tensor, x_model: Tensor, rng: Noise, u: Tensor | None) -> tuple[Tensor, Tensor]:
        """E(x) and E(x̃), scored in one pass."""
        x = x + self.cfg.data_noise * rng.normal(*x.shape)
        if u is not None:  # the real pictures have draws of their own
            x, x_model = diff_augment(x, draw(len(x), rng)), diff_augment(x_model, u)
        e_data, e_model = self.solver(torch.cat([x, x_model]), ()).chunk(2)
        return e_data, e_model

    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        cfg = self.cfg.langevin
        nets = (self.initializer, self.solver)
        return draft_and_refine(*nets, None, n, cfg, rng, keep=keep_nothing, refine=refine, trace=trace)

    @torch.no_grad()
    def energy(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.solver(x, ())
