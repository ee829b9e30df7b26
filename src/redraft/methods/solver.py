"""A solver for an initializer that is there already: somebody else's generator, or one of ours.

The solver's part of CCoopNets (arXiv:1902.02812) alone: its energy is learned by maximum likelihood, with
the initializer's drafts refined by Langevin dynamics as the model's samples. With ``teach`` the initializer
learns from the refined drafts as well (MCMC teaching), which is CCoopNets, or without a condition CoopNets
(arXiv:1609.09408), from where another training has ended.

    solver        p(x|c) ∝ exp(−E_θ(x, c))      refines a draft
    initializer   x = g(z, c), as given
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from redraft import losses
from redraft.augment import draw
from redraft.core.errors import UsageError
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.method import Keep, Sample, Update, keep_nothing
from redraft.methods.thinking import draft_and_refine, learn, think
from redraft.nets.parts import Energy, Initializer
from redraft.sampling.langevin import Langevin


class Solver(nn.Module):
    """The solver θ of an initializer that is kept as it is, or taught with ``cfg.teach``."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        langevin: Langevin = Langevin()
        teach: bool = False  # whether the initializer learns from the refined drafts
        sigma: float = 0.3  # σ of the initializer's law, where it is taught; CCoopNets 0.3
        saturate: bool = True  # losses.saturating in place of losses.likelihood, the papers'
        data_noise: float = 0.03  # sd of noise on real pictures; short-run MCMC 0.03, papers 0
        wrong_conditions: float = 0.5  # weight of real pictures under wrong c as negatives; papers 0
        energy_magnitude: float = 0.05  # weight of mean E²; IGEBM 1, JEM's author 0.1, papers 0
        diff_augment: bool = False  # DiffAugment on what the solver learns from, for few pictures

        def __post_init__(self) -> None:
            if self.sigma <= 0:
                raise UsageError(f"method.sigma is greater than 0, not {self.sigma}.")

    stage = ""

    def __init__(
        self, cfg: Config, *, solver: Energy, initializer: Initializer, keep: Keep = keep_nothing
    ) -> None:
        super().__init__()
        if cfg.teach and not any(True for _ in initializer.parameters()):
            raise UsageError(
                "This initializer has no weights that could learn (an ONNX file is run as it is); "
                "leave method.teach at false."
            )
        self.cfg, self.solver, self.initializer, self.keep = cfg, solver, initializer, keep
        initializer.requires_grad_(cfg.teach)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that ``step`` updates: the initializer is one only where it is taught."""
        taught = {"initializer": self.initializer} if self.cfg.teach else {}
        return {"solver": self.solver, **taught}

    @property
    def refine_steps(self) -> int:
        return self.cfg.langevin.steps

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        cfg, (c, x) = self.cfg, batch
        z = rng.normal(len(x), *self.initializer.z_shape)
        u = draw(len(x), rng) if cfg.diff_augment else None
        with torch.set_grad_enabled(cfg.teach):
            x_fast = self.keep(self.initializer(z, c), c)
        chain = think(self.solver, x_fast, c, cfg.langevin, rng, keep=self.keep, u=u)
        made = Pair(c, chain.x)
        learned = learn(self.solver, batch, made, cfg, rng, u=u, wrong_conditions=cfg.wrong_conditions)
        update(self.solver, learned.loss)
        values = learned.values(chain)
        if cfg.teach:
            taught = losses.teaching(chain.x, x_fast, cfg.sigma)
            update(self.initializer, taught)
            values["loss_initializer"] = taught
        return values

    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        nets, cfg = (self.initializer, self.solver), self.cfg.langevin
        return draft_and_refine(*nets, c, n, cfg, rng, keep=self.keep, refine=refine, trace=trace)

    @torch.no_grad()
    def energy(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self.solver.given(c)(x)
