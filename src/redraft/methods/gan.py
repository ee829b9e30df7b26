"""GAN: a generator against a discriminator, unconditional or given a category.

Goodfellow et al. "Generative Adversarial Nets", NeurIPS 2014, arXiv:1406.2661; its algorithm box is
``Gan.step``, one discriminator step to one generator step, both on the same made pictures (there each
draws its own). Conditional by projection (Miyato & Koyama 2018, arXiv:1802.05637), which the networks hold.
Losses and penalties: ``contest.Contest``.

    discriminator   D(x, c), its logit = −E            the solver, if asked for
    generator       x = g(z, c),  z ~ N(0, I)          the initializer
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from redraft.augment import Chance, draw
from redraft.core.errors import UsageError
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.contest import Contest, sample, take_turns
from redraft.methods.method import Sample, Update, keep_nothing
from redraft.nets.parts import Energy, Initializer


class Gan(nn.Module):
    """Discriminator and generator, and how a step sets them against each other."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Contest):
        r1: float = 0.1
        ada: float = 0.0  # wanted mean sign of D(real), which moves the share that is augmented; ADA 0.6

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.ada < 1:
                raise UsageError(f"method.ada lies between 0 (off) and 1, ADA's own is 0.6; not {self.ada}.")

    stage = ""
    refine_steps = 0

    def __init__(self, cfg: Config, *, solver: Energy, initializer: Initializer) -> None:
        super().__init__()
        self.cfg, self.discriminator, self.generator = cfg, solver, initializer
        self.keep = keep_nothing
        self.chance = Chance() if cfg.ada else None

    @property
    def networks(self) -> dict[str, nn.Module]:
        nets: dict[str, nn.Module] = {"solver": self.discriminator, "initializer": self.generator}
        return nets if self.chance is None else nets | {"augmentation": self.chance}

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        verdict, values = take_turns(self, batch, update, rng)
        if self.chance is not None:
            update(self.chance, self.chance.loss(verdict.real, self.cfg.ada))
            values["augmented"] = self.chance()
        return values

    def propose(self, batch: Pair, rng: Noise) -> tuple[Tensor, Tensor]:
        """g(z, c) [N, C, H, W], and the generator's own loss beside the contest: none."""
        c, x = batch
        made = self.generator(rng.normal(len(x), *self.generator.z_shape), c)
        return made, made.new_zeros(())

    def draws(self, n: int, rng: Noise) -> tuple[Tensor, Tensor] | None:
        """What augments n real and n made pictures; None: nothing does."""
        if self.chance is None and not self.cfg.diff_augment:
            return None
        chance = None if self.chance is None else self.chance()
        return draw(n, rng, chance), draw(n, rng, chance)

    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        return sample(self, c, n, rng, refine, trace)

    @torch.no_grad()
    def energy(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.discriminator.given(c)(x)
