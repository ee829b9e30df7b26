"""Diffusion: a denoiser learned from pictures, that makes pictures out of noise, step by step.

Ho, Jain, Abbeel. "Denoising Diffusion Probabilistic Models", NeurIPS 2020, arXiv:2006.11239; with the v
prediction of Salimans and Ho (2022), classifier-free guidance (Ho, Salimans 2022) and the solvers of
Lu et al. (2022). What it is for here: a prior that knows what pictures look like, for PITI to teach
conditions to, and a slow solver beside the fast ones.

    min over θ of  E ‖ D_θ(x_t, t, c) − target(x_0, ε, t) ‖²,    x_t = α_t x_0 + σ_t ε

    D_θ     the denoiser                                        the initializer
    drafts  few steps from noise; more steps from the same noise refine them, or another method's drafts
            are noised in part and refined from there
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from redraft.core.rng import Noise, uniform
from redraft.core.types import Pair
from redraft.methods.denoising import (
    Denoising,
    Told,
    draft_and_denoise,
    errors,
    revised,
    taught,
)
from redraft.methods.method import Sample, Update
from redraft.nets.denoiser import Denoiser
from redraft.sampling.diffusion import Process


class Diffusion(nn.Module):
    """A denoiser of pictures alone or of pictures of a category, and how a step teaches it."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Denoising):
        pass

    stage = ""

    def __init__(self, cfg: Config, *, initializer: Denoiser, process: Process) -> None:
        super().__init__()
        process.scheduler(cfg.scheduler)  # refuses one that does not fit
        self.cfg, self.initializer, self.process = cfg, initializer, process

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"initializer": self.initializer}

    @property
    def refine_steps(self) -> int:
        return self.cfg.steps

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        c, x = batch
        if c is not None:
            dropped = uniform(len(x), rng) < self.cfg.null
            c = torch.where(dropped, -1, c)
        loss = taught(self.initializer, self.process, self.cfg, x, Told(c), rng).mean()
        update(self.initializer, loss)
        return {"loss_initializer": loss}

    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        return draft_and_denoise(*self._denoiser, Told(c), self._null(c), n, rng, refine=refine, trace=trace)

    def revise(self, drafts: Tensor, c: Tensor | None, rng: Noise, level: float, steps: int) -> Tensor:
        """Another method's drafts [N, C, H, W], noised to ``level`` and denoised (``denoising.revised``)."""
        return revised(*self._denoiser, Told(c), self._null(c), drafts, rng, level, steps)

    @torch.no_grad()
    def energy(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """How badly the denoiser tells the noise that is put on x [N]; the same noise every time."""
        return errors(*self._denoiser, x, Told(c))

    @property
    def _denoiser(self) -> tuple[Denoiser, Process, Config]:
        return self.initializer, self.process, self.cfg

    @staticmethod
    def _null(c: Tensor | None) -> Told | None:
        """What is told of no category; None where there are none."""
        return None if c is None else Told(torch.full_like(c, -1))
