"""CoopInit: cooperative initialisation of an adversarial method.

Zhao, Xie, Li. "CoopInit: Initializing Generative Adversarial Networks via Cooperative Learning",
AAAI 2023, arXiv:2303.11649. What is known of it: first, for a few iterations, the discriminator is an
energy-based model learned by maximum likelihood, and the generator learns from it by MCMC teaching; then
ordinary adversarial training goes on with the same weights. No code of it is public, and K, the step size,
the length of the first stage and what becomes of the optimizers' states are **our** choices, each a
setting, measured in docs/log.md.

    E(x, c) = −logit of D(x, c)         a mean over patches where D looks at patches
    x̃ = K Langevin steps from x̂ = g(z, c), each picture's step size set by its own gradient
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from redraft import losses
from redraft.augment import diff_augment, follow
from redraft.core.errors import UsageError
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.contest import Contest, penalties
from redraft.methods.method import Adversarial, Sample, Update
from redraft.methods.thinking import think
from redraft.nets.parts import joined
from redraft.sampling.langevin import Langevin

STAGES = ("cooperative", "adversarial")


class CoopInit(nn.Module):
    """An adversarial method whose networks cooperate first."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        share: float = 0.0  # of the training, for the cooperative stage; 0 = none, 0.02 = "a few iterations"
        # A discriminator's gradient has no scale of its own (spectral norm, R1), so δ = 0.002 with s = 0.016,
        # as in CoopNets, would not move a pixel: a picture's first move has rms 0.02, 1 % of the range.
        langevin: Langevin = Langevin(steps=5, relative=0.02, drift_clip=0.1)
        sigma: float = 0.05  # teaching: mean squared error over pixels / 2σ²; matters beside L1 or PatchNCE
        energy_magnitude: float = 0.05  # weight of mean E², which keeps a discriminator's energies bounded
        optimizers: Literal["reset", "keep"] = "reset"  # what the adversarial stage begins with

        def __post_init__(self) -> None:
            if not 0 <= self.share <= 1:
                raise UsageError(f"coopinit.share lies between 0 (off) and 1, not {self.share}.")
            if self.sigma <= 0 or self.energy_magnitude < 0:
                raise UsageError(
                    "coopinit.sigma is greater than 0, and coopinit.energy_magnitude not negative."
                )
            if self.langevin.steps < 1:
                raise UsageError("coopinit.langevin.steps is at least 1: without steps nobody is taught.")

    handed_over: Tensor  # 1 once the adversarial stage has begun

    def __init__(self, cfg: Config, adversarial: Adversarial) -> None:
        super().__init__()
        self.first, self.adversarial = cfg, adversarial
        self.stage = ""
        self.register_buffer("handed_over", torch.zeros((), dtype=torch.uint8))

    @property
    def cfg(self) -> Contest:
        return self.adversarial.cfg

    @property
    def networks(self) -> dict[str, nn.Module]:
        return self.adversarial.networks

    @property
    def style(self) -> nn.Module | None:
        return getattr(self.adversarial, "style", None)

    @property
    def refine_steps(self) -> int:
        return self.adversarial.refine_steps

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        if update.done < self.first.share:
            self.stage = STAGES[0]
            return self._cooperate(batch, update, rng)
        if self.stage != STAGES[1]:
            self._hand_over(update)
        return self.adversarial.step(batch, update, rng)

    def _cooperate(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        cfg, (c, x), method = self.first, batch, self.adversarial
        discriminator, generator = method.discriminator, method.generator
        x_hat, own = method.propose(batch, rng)  # draft
        u = method.draws(len(x), rng)
        mine = None if u is None else u[1]
        chain = think(discriminator, x_hat, c, cfg.langevin, rng, keep=method.keep, u=mine)  # revise
        x_tilde = chain.x

        real, revised = x, x_tilde
        if u is None:
            codes = (discriminator.encode(c),) * 2
        else:
            real, revised = diff_augment(x, u[0]), diff_augment(x_tilde, u[1])
            codes = (discriminator.encode(follow(c, u[0])), discriminator.encode(follow(c, u[1])))
        e_data, e_model = discriminator(torch.cat([real, revised]), joined(*codes)).chunk(2)
        loss_solver = losses.likelihood(e_data, e_model)  # maximum likelihood
        loss_solver = loss_solver + cfg.energy_magnitude * losses.magnitude(e_data, e_model)
        loss_solver = loss_solver + penalties(discriminator, real, revised, codes[0], method.cfg, rng)
        taught = losses.teaching(x_tilde, x_hat, cfg.sigma) / x[0].numel()  # MCMC teaching
        loss_initializer = taught + own

        update(discriminator, loss_solver)
        update(generator, loss_initializer)
        return {
            "loss_solver": loss_solver,
            "loss_initializer": loss_initializer,
            "energy_data": e_data.mean(),
            "energy_draft": chain.energies[:1].mean(),
            "energy_refined": e_model.mean(),
            "move": chain.move,
            "drift": chain.drift,
        }

    def _hand_over(self, update: Update) -> None:
        """Once in a training, whether or not it was resumed in between."""
        self.stage = STAGES[1]
        if self.handed_over.item():
            return
        self.handed_over.fill_(1)
        if self.first.optimizers == "reset" and self.first.share:
            for net in self.networks.values():
                update.restart(net)

    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        return self.adversarial.generate(c, n, rng, refine=refine, trace=trace)

    def energy(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self.adversarial.energy(x, c)
