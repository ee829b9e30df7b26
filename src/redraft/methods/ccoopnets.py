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
from redraft.augment import diff_augment, draw, follow
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.method import Keep, Sample, Update, keep_nothing
from redraft.methods.thinking import draft_and_refine, think
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

        x_model, c_model = self._persist(x_slow, c, rng, u)
        e_data, e_model, *e_wrong = self._energies(x, c, x_model, c_model, rng, u)
        contrast = losses.saturating if cfg.saturate else losses.likelihood
        loss_solver = contrast(e_data, e_model)  # learn from the data
        loss_solver = loss_solver + cfg.energy_magnitude * losses.magnitude(e_data, e_model, *e_wrong)
        for e in e_wrong:
            loss_solver = loss_solver + cfg.wrong_conditions * losses.mismatch(e_data, e, _wrong(c))

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

        update(self.solver, loss_solver)
        update(self.initializer, loss_initializer)
        values = {
            "loss_solver": loss_solver,
            "loss_initializer": loss_initializer,
            "energy_data": e_data.mean(),
            "energy_draft": chain.energies[:1].mean(),
            "energy_refined": e_model.mean(),
            "move": chain.move,
            "drift": chain.drift,
        }
        return values | ({"energy_wrong": e_wrong[0].mean()} if e_wrong else {})

    def draft(self, z: Tensor, c: Condition) -> Tensor:
        """g(z, c) with what c fixes put back, [N, C, H, W]."""
        return self.keep(self.initializer(z, c), c)

    def _latents(self, x: Tensor, c: Condition, rng: Noise) -> tuple[Tensor, slice]:
        """z ~ N(0, I), and the rows whose z begins with the style of their true picture: the first half.

        L1 to the truth under a z that has nothing to do with it teaches the initializer to ignore z;
        so where there is a style, L1 is asked only of the rows that were told it (cVAE-GAN's part of
        BicycleGAN, with a fixed linear encoder).
        """
        z = rng.normal(len(x), *self.initializer.z_shape)
        if self.style is None:
            return z, slice(None)
        told = slice((len(x) + 1) // 2)
        code = self.style(x[told], c[told])  # type: ignore[index]
        first = torch.cat([code, z[told, code.shape[1] :]], 1)
        return torch.cat([first, z[told.stop :]]), told

    def _persist(self, x: Tensor, c: Condition, rng: Noise, u: Tensor | None) -> tuple[Tensor, Condition]:
        """The model's samples: x̃, a share of them replaced by chains that go on from earlier steps."""
        if self.pool is None:
            return x, c
        start, c, goes_on = self.pool.swap_in(x, c, self.cfg.persistent, self.cfg.restart, rng)
        chain = think(self.solver, start, c, self.cfg.langevin, rng, keep=self.keep, u=u)
        x = torch.where(goes_on[:, None, None, None], chain.x, x)
        self.pool.put(x, c)
        return x, c

    def _energies(
        self,
        x: Tensor,
        c: Condition,
        x_model: Tensor,
        c_model: Condition,
        rng: Noise,
        u: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """E(x, c), E(x̃, c̃) and, if asked for, E(x, wrong c), scored in one pass.

        The wrong conditions are the batch's own, rolled by one: see ``_wrong``.
        """
        x = x + self.cfg.data_noise * rng.normal(*x.shape)
        if u is not None:
            v = draw(len(x), rng)  # the real pictures have draws of their own
            x, c = diff_augment(x, v), follow(c, v)
            x_model, c_model = diff_augment(x_model, u), follow(c_model, u)
        right = self.solver.encode(c)
        pictures, codes = [x, x_model], [right, self.solver.encode(c_model)]
        if self.cfg.wrong_conditions:
            pictures.append(x)
            codes.append(tuple(k.roll(1, 0) for k in right))
        code = tuple(torch.cat(k) for k in zip(*codes, strict=True))
        return self.solver(torch.cat(pictures), code).chunk(len(pictures))

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


def _wrong(c: Condition) -> Tensor:
    """1 [N] where the batch's condition rolled by one is another one; two neighbours may share a category."""
    assert c is not None
    return (c != c.roll(1, 0)).flatten(1).any(1).float() if c.ndim > 1 else (c != c.roll(1, 0)).float()
