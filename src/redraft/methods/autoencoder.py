"""Autoencoder: an image expert of the user's own pictures, for network fusion to build on.

Trained as the autoencoders of Rombach, Esser, Ommer. "Network-to-Network Translation with Conditional
Invertible Neural Networks", NeurIPS 2020, arXiv:2005.13580, whose loss, a mean over the picture's numbers
here and a sum there, is

    (|x − x̂| + perceptual) / e^s + s  +  10⁻⁶ KL(q(z|x) ‖ N(0, I))  [+ w (−D(x̂))],   x̂ of a sample z ~ q(z|x)

with a learned s, and w = ½ ‖∇ rest‖ / ‖∇ D‖ at the last layer. The default has neither s nor D: in minutes
they make it worse (docs/log.md).

    autoencoder     z = encode(x),  x̂ = decode(z)            the initializer
    discriminator   D(x) on patches, its logit = −E           the solver, if asked for
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from redraft.augment import draw
from redraft.core.errors import UsageError
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.contest import Contest, Loss, judge, persuade
from redraft.methods.method import Sample, Update
from redraft.nets.autoencoder import AutoencoderNet
from redraft.nets.parts import Energy
from redraft.sampling.langevin import Langevin

Perceptual = Callable[[Tensor, Tensor], Tensor]  # (x̂, x) -> distance of each picture [N], with a slope in x̂
STAGES = ("reconstruction", "adversarial")
MOST = 1e4  # of the adaptive weight; net2net's


class Autoencoder(nn.Module):
    """An autoencoder, and how a step teaches it; conditions are not looked at."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Contest):
        loss: Loss = "hinge"  # the paper's
        langevin: Langevin = Langevin(steps=0)  # nothing is refined
        kl: float = 1e-6  # weight of KL; 1: with ``learned_scale`` the evidence bound; the paper's 1e-6
        perceptual: float = 1.0  # weight of the perceptual distance beside |x − x̂|; the paper's 1 (of LPIPS)
        learned_scale: bool = False  # (…)/e^s + s, as the paper
        adversarial: float = 0.0  # weight of the contest, 0 = off; the paper's 0.5 (adaptive)
        adaptive: bool = False  # that weight times ‖∇ rest‖ / ‖∇ D‖, of each process's pictures; the paper's
        start: float = 0.25  # share of the training before the contest begins; the paper: after 10⁴-10⁵ steps

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("kl", "perceptual", "adversarial"):
                if getattr(self, name) < 0:
                    raise UsageError(f"method.{name} is a weight, 0 or more, not {getattr(self, name)}.")
            if not 0 <= self.start < 1:
                raise UsageError(f"method.start is a share of the training below 1, not {self.start}.")

    refine_steps = 0

    def __init__(
        self,
        cfg: Config,
        *,
        initializer: AutoencoderNet,
        solver: Energy | None = None,
        perceptual: Perceptual | None = None,
    ) -> None:
        """``perceptual`` is no part of the model: it is asked for in training alone."""
        super().__init__()
        if cfg.adversarial and solver is None:
            raise ValueError("an adversarial autoencoder needs a discriminator")
        if cfg.perceptual and perceptual is None:
            raise ValueError("method.perceptual needs a perceptual distance")
        self.cfg, self.initializer = cfg, initializer
        self.discriminator = solver if cfg.adversarial else None
        self._distance = (perceptual,)  # in a tuple: a network in it is not saved with the model
        self.stage = STAGES[0] if cfg.adversarial and cfg.start else ""

    @property
    def networks(self) -> dict[str, nn.Module]:
        contest = {} if self.discriminator is None else {"solver": self.discriminator}
        return {**contest, "initializer": self.initializer}

    def begin(self, batch: Pair) -> None:
        """Start from the principal components of some thousand real pictures: once, before training."""
        self.initializer.begin(batch.target)

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        net, x = self.initializer, batch.target
        mean, logvar = net.posterior(x)
        z = mean + (0.5 * logvar).exp() * rng.normal(len(x), *net.z_shape)
        made = net.decode(z)
        own, values = self.reconstruction(x, made)
        divergence = kl(mean, logvar)
        own = own + self.cfg.kl * divergence / x[0].numel()
        contest = x.new_zeros(())
        begun = update.done >= self.cfg.start
        if self.stage:
            self.stage = STAGES[begun]
        if self.discriminator is not None and begun:
            contest, told = self._contend(self.discriminator, x, made, own, update, rng)
            values |= told
        update(net, own + contest + spread(net, z))
        return {"loss_initializer": own, **values, "kl": divergence}

    def reconstruction(self, x: Tensor, made: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What x̂ = ``made`` costs beside x, and what the journal is told of it."""
        error = (x - made).abs().mean()
        values, cost = {"error": error}, error
        (distance,) = self._distance
        if self.cfg.perceptual and distance is not None:
            values["perceptual"] = distance(made, x).mean()
            cost = error + self.cfg.perceptual * values["perceptual"]
        if self.cfg.learned_scale:
            s = self.initializer.error_scale.sum()
            cost = cost * (-s).exp() + s
            values["scale"] = s
        return cost, values

    def _contend(
        self, discriminator: Energy, x: Tensor, made: Tensor, own: Tensor, update: Update, rng: Noise
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's turn, and the weighted loss of x̂ being taken for real."""
        u = (draw(len(x), rng), draw(len(x), rng)) if self.cfg.diff_augment else None
        verdict = judge(discriminator, x, made, None, self.cfg, rng, u)
        update(discriminator, verdict.loss)
        loss = persuade(discriminator, made, None, self.cfg, None if u is None else u[1])
        weight = self.cfg.adversarial
        told = verdict.values(loss)
        told["loss_contest"] = told.pop("loss_initializer")
        if self.cfg.adaptive:
            told["weight"] = balance(own, loss, self.initializer.last) * weight
            return told["weight"] * loss, told
        return weight * loss, told

    @torch.no_grad()
    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        """n pictures of latents drawn from a Gaussian with the codes' mean and spread, number by number.

        Codes are no Gaussian and their numbers depend on one another, so these are poor pictures by nature;
        a flow on the codes (method fusion) is what samples well. Nothing is refined.
        """
        if refine:
            raise UsageError(
                "An autoencoder's pictures are not refined (refine must be 0); to refine them train a "
                "solver: --method solver --initializer RUN."
            )
        drafts = self.initializer(rng.normal(n, *self.initializer.z_shape), c)
        energies = self.energy(drafts, c)
        return Sample(drafts, drafts, energies, energies, [drafts] if trace else [], energies[None][:0])

    @torch.no_grad()
    def energy(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """mean |x − decode(encode(x))| [N]: how far a picture is from what the autoencoder can make."""
        return (x - self.back(x)).abs().flatten(1).mean(1)

    @torch.no_grad()
    def back(self, x: Tensor) -> Tensor:
        """decode(encode(x)) [N, C, S, S]: what an autoencoder is for."""
        return self.initializer.decode(self.initializer.encode(x))


def kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, e^logvar) ‖ N(0, I)), summed over a picture's numbers, mean over pictures [N, ...]."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1).mean()


def spread(net: AutoencoderNet, z: Tensor) -> Tensor:
    """The codes' negative log-likelihood a number under N(centre, spread²), which teaches these two alone.

    Where other code keeps running averages: this is a loss, so it is averaged over processes, micro-batches
    and time as all losses are.
    """
    mean, sd = net.codes()
    return (0.5 * ((z.detach() - mean) / sd).square() + sd.log()).mean()


def balance(own: Tensor, contest: Tensor, last: Tensor) -> Tensor:
    """‖∇ own‖ / ‖∇ contest‖ by the weights of the ``last`` layer, at most 10⁴; a number, without a slope."""
    (a,) = torch.autograd.grad(own, last, retain_graph=True)
    (b,) = torch.autograd.grad(contest, last, retain_graph=True)
    return (a.norm() / (b.norm() + 1e-4)).clamp(0, MOST).detach()
