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
from redraft.augment import draw
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.method import Sample, Update, keep_nothing
from redraft.methods.thinking import draft_and_refine, go_on, learn, think
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

        made = Pair(None, x_tilde)
        if self.pool is not None:
            lot = (self.pool, cfg.persistent, cfg.restart)
            made = go_on(self.solver, made, *lot, cfg.langevin, rng, keep=keep_nothing, u=u)
        learned = learn(self.solver, Pair(None, x), made, cfg, rng, u=u)  # D2: shift the density to the data

        if cfg.latent.steps:  # G1: infer the z of the revised picture
            z = infer_latent(lambda z: self.initializer(z, None), z, x_tilde, cfg.latent, cfg.sigma, rng)
            x_hat = self.initializer(z, None)
        loss_initializer = losses.teaching(x_tilde, x_hat, cfg.sigma)  # G2: learn from the revision

        update(self.solver, learned.loss)
        update(self.initializer, loss_initializer)
        return learned.values(chain) | {"loss_initializer": loss_initializer}

    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        cfg = self.cfg.langevin
        nets = (self.initializer, self.solver)
        return draft_and_refine(*nets, None, n, cfg, rng, keep=keep_nothing, refine=refine, trace=trace)

    @torch.no_grad()
    def energy(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.solver(x, ())
