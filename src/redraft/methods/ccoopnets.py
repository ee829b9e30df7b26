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
from redraft.augment import draw
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.method import Keep, Sample, Update, keep_nothing
from redraft.methods.thinking import draft_and_refine, go_on, learn, think
from redraft.nets.parts import Energy, Initializer
from redraft.nets.style import Style
from redraft.sampling.langevin import Langevin
from redraft.sampling.latent import Latent, infer_latent
from redraft.sampling.pool import Pool

Condition = Tensor | None  # None is for the type checker: this method always has one


class CCoopNets(nn.Module):
    """The solver θ and the initializer α of one condition space, and how a step teaches both."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        langevin: Langevin = Langevin()
        latent: Latent = Latent()  # Langevin on z before teaching (ℓ_G); 0 steps as released
        sigma: float = 0.3  # σ of the initializer's law; released code 0.3
        saturate: bool = True  # losses.saturating in place of losses.likelihood, the papers'
        data_noise: float = 0.03  # sd of noise on real pictures; short-run MCMC 0.03, papers 0
        wrong_conditions: float = 0.5  # weight of real pictures under wrong c as negatives; papers 0
        energy_magnitude: float = 0.05  # weight of mean E²; IGEBM 1, JEM's author 0.1, papers 0
        truth_l1: float = 0.0  # weight of |x_obs − g|; released img2img code: see losses.truth_l1
        read_back: float = 1.0  # weight of losses.read_back, where there is a style; BicycleGAN 0.5 of an L1
        diff_augment: bool = False  # DiffAugment on what the solver learns from, for few pictures
        persistent: float = 0.0  # share of chains that go on from the pool; IGEBM 0.95
        restart: float = 0.05  # share of those that start anew from a draft; IGEBM 0.05

    def __init__(
        self,
        cfg: Config,
        *,
        solver: Energy,
        initializer: Initializer,
        keep: Keep = keep_nothing,
        style: Style | None = None,
        pool: Pool | None = None,
    ) -> None:
        super().__init__()
        self.cfg, self.solver, self.initializer = cfg, solver, initializer
        self.keep, self.style, self.pool = keep, style, pool

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"solver": self.solver, "initializer": self.initializer}

    stage = ""

    @property
    def refine_steps(self) -> int:
        return self.cfg.langevin.steps

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        cfg, (c, x) = self.cfg, batch
        z, told = self._latents(x, c, rng)
        u = draw(len(x), rng) if cfg.diff_augment else None
        x_fast = self.draft(z, c)  # fast thinking: initialise
        chain = think(self.solver, x_fast, c, cfg.langevin, rng, keep=self.keep, u=u)  # slow thinking
        x_slow = chain.x

        made = Pair(c, chain.x)
        if self.pool is not None:
            lot = (self.pool, cfg.persistent, cfg.restart)
            made = go_on(self.solver, made, *lot, cfg.langevin, rng, keep=self.keep, u=u)
        learned = learn(self.solver, batch, made, cfg, rng, u=u, wrong_conditions=cfg.wrong_conditions)

        if cfg.latent.steps:  # let z explain what the solver did
            z = infer_latent(lambda z: self.draft(z, c), z, x_slow, cfg.latent, cfg.sigma, rng)
            x_fast = self.draft(z, c)
        loss_initializer = losses.teaching(x_slow, x_fast, cfg.sigma)  # learn from the solver
        if cfg.truth_l1:
            loss_initializer = loss_initializer + cfg.truth_l1 * losses.truth_l1(x[told], x_fast[told])
        if self.style is not None:
            code, pixels = self.style(x_fast, c), x[0].numel()
            asked = z[:, : code.shape[1]]
            loss_initializer = loss_initializer + cfg.read_back * losses.read_back(code, asked, pixels)

        update(self.solver, learned.loss)  # learn from the data
        update(self.initializer, loss_initializer)
        return learned.values(chain) | {"loss_initializer": loss_initializer}

    def draft(self, z: Tensor, c: Condition) -> Tensor:
        """g(z, c) with what c fixes put back, [N, C, H, W]."""
        return self.keep(self.initializer(z, c), c)

    def _latents(self, x: Tensor, c: Condition, rng: Noise) -> tuple[Tensor, slice]:
        """z ~ N(0, I), and the rows that L1 is asked of: with a style, those that were told it."""
        z = rng.normal(len(x), *self.initializer.z_shape)
        return (z, slice(None)) if self.style is None or c is None else self.style.tell(z, x, c)

    def generate(
        self, c: Condition, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        cfg = self.cfg.langevin
        return draft_and_refine(
            self.initializer, self.solver, c, n, cfg, rng, keep=self.keep, refine=refine, trace=trace
        )

    @torch.no_grad()
    def energy(self, x: Tensor, c: Condition) -> Tensor:
        return self.solver.given(c)(x)
