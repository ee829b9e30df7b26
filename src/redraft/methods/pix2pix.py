"""pix2pix: a conditional GAN from picture to picture, with L1 to the truth.

Isola, Zhu, Zhou, Efros. "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
arXiv:1611.07004. As published the generator takes no z (dropout is its only noise, and changes little);
with a ``Style`` z begins with colour and light of the true picture on the rows that L1 is asked of, as
in ``CCoopNets``: noise that works, ours.

    discriminator   D(x, c) on patches, its logit = −E       the solver, if asked for
    generator       x = g(c), or g(z, c)                     the initializer
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
from redraft.methods.contest import Contest, sample, take_turns
from redraft.methods.method import Keep, Sample, Update, keep_nothing
from redraft.nets.parts import Energy, Initializer
from redraft.nets.style import Style


class Pix2Pix(nn.Module):
    """Discriminator and generator of one picture condition, and how a step teaches both."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Contest):
        l1: float = 100.0  # λ: weight of mean |x − g|; the paper's
        read_back: float = 10.0  # weight of mean ‖style(g) − z‖², where there is a style; ours

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.l1 < 0 or self.read_back < 0:
                raise UsageError("method.l1 and method.read_back are weights, 0 or more.")

    stage = ""
    refine_steps = 0

    def __init__(
        self,
        cfg: Config,
        *,
        solver: Energy,
        initializer: Initializer,
        keep: Keep = keep_nothing,
        style: Style | None = None,
    ) -> None:
        super().__init__()
        self.cfg, self.discriminator, self.generator = cfg, solver, initializer
        self.keep, self.style = keep, style

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"solver": self.discriminator, "initializer": self.generator}

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        _, values = take_turns(self, batch, update, rng)
        return values

    def propose(self, batch: Pair, rng: Noise) -> tuple[Tensor, Tensor]:
        """g(z, c) with what c fixes put back, and the generator's own loss: λ mean |x − g|."""
        c, x = batch
        assert c is not None
        z, told = rng.normal(len(x), *self.generator.z_shape), slice(None)
        if self.style is not None:
            z, told = self.style.tell(z, x, c)
        made = self.keep(self.generator(z, c), c)
        own = self.cfg.l1 * (x[told] - made[told]).abs().mean()
        if self.style is not None:
            code = self.style(made, c)
            own = own + self.cfg.read_back * losses.read_back(code, z[:, : code.shape[1]], 1)
        return made, own

    def draws(self, n: int, rng: Noise) -> tuple[Tensor, Tensor] | None:
        """What augments n real and n made pictures; None: nothing does."""
        return (draw(n, rng), draw(n, rng)) if self.cfg.diff_augment else None

    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        return sample(self, c, n, rng, refine, trace)

    @torch.no_grad()
    def energy(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self.discriminator.given(c)(x)
