"""PITI: a pretrained diffusion model, told by a picture what to show.

Wang, Zhang, Zhang, Bo, Chen, Chen, Wen. "Pretraining is All You Need for Image-to-Image Translation",
arXiv:2205.12952. A denoiser ε_θ that has been trained on other pictures, and without pairs, knows what
pictures look like. A condition encoder E learns to speak to it in tokens, as words do:

    x_t = α_t x_0 + σ_t ε        min E ‖ε_θ(x_t, t, E(y)) − ε‖²

    1  encoder               E learns; θ is frozen
    2  dropped conditions    E learns on, a share of the conditions null; θ is frozen
    3  joint                 E and θ learn
    4  upsampler             where larger pictures are wanted than a prior of pixels makes: 1 to 3 are of
                             area means, and a denoiser of its own enlarges them (methods/upsampler.py)

    ε̂ = ε_c + w (ε_c − ε_∅), normalised        guided sampling (sampling/diffusion.guided)

Here y is c, and θ predicts what its own schedule says (ε, v, x_0, a flow). A prior that has never heard of
words gets new layers for tokens (nets/denoiser.py), which learn with E.

Otherwise than published: E also draws the condition (``encoder.hint``), since tokens say little of where
things are: it is added to what the first layer of θ makes of x_t (in a latent space y has by then been folded
to the latent's grid); stages are shares of one training; frozen means eval mode and no gradients, where the
released code leaves dropout on, of which here is none in any stage; t is drawn evenly (there by the size of
its losses); no term for a learned variance, which a prior may have and nobody reads here; few steps of a
second-order solver (there 250 of the first order, at random).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor, nn

from redraft.core.errors import UsageError
from redraft.core.rng import Noise, uniform
from redraft.core.types import Pair
from redraft.methods.denoising import (
    Denoising,
    Told,
    draft_and_denoise,
    errors,
    revised,
    taught,
    told_by,
)
from redraft.methods.method import Keep, Sample, Update, keep_nothing
from redraft.methods.thinking import still
from redraft.methods.upsampler import Upsampler, Upsampling
from redraft.nets.condition_encoder import ConditionEncoder
from redraft.nets.denoiser import Denoiser
from redraft.sampling.diffusion import Process

STAGES = ("encoder", "dropped conditions", "joint")
LAST = "upsampler"  # the fourth, where there is one


class Piti(nn.Module):
    """A condition encoder E (``encoder``), a pretrained denoiser θ (``initializer``), perhaps an upsampler.

    With one the first two are of pictures and conditions of its ``reduced`` side, and all that comes in and
    goes out is of the full one.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Denoising):
        encoder: float = 0.3  # share of stages 1 to 3 for stage 1; released code 200,000 steps
        dropped: float = 0.1  # share for stage 2, of what is left at most; released code 60,000 steps
        null: float = 0.2  # share of the conditions that are null in stages 2 and 3; released code 0.2
        carry: Literal["average", "weights"] = "average"  # of E into the next stage; released code: average
        optimizers: Literal["reset", "keep"] = "reset"  # what each stage begins with; released code: reset
        guidance: float = 0.3  # w; released code 0.3, there 1 + w = 1.3
        upsampler: Upsampling = Upsampling()  # stage 4; none where its factor is 1

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("encoder", "dropped"):
                if not 0 <= getattr(self, name) <= 1:
                    raise UsageError(
                        f"method.{name} is a share of the training, 0 to 1, not {getattr(self, name)}."
                    )

    def __init__(
        self,
        cfg: Config,
        *,
        encoder: ConditionEncoder,
        initializer: Denoiser,
        process: Process,
        upsampler: Upsampler | None = None,
        keep: Keep = keep_nothing,
    ) -> None:
        super().__init__()
        if (cfg.upsampler.factor > 1) != (upsampler is not None):
            raise ValueError("there is an upsampler where method.upsampler.factor is more than 1")
        process.scheduler(cfg.scheduler)  # refuses one that does not fit
        self.cfg, self.process, self.keep = cfg, process, keep
        self.encoder, self.initializer, self.upsampler = encoder, initializer, upsampler
        self.stage = ""

    @property
    def networks(self) -> dict[str, nn.Module]:
        more = {} if self.upsampler is None else self.upsampler.networks
        return {"encoder": self.encoder, "initializer": self.initializer, **more}

    @property
    def refine_steps(self) -> int:
        return self.cfg.steps

    # ---- training

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        self._enter(update)
        if self.upsampler is not None and self.stage == LAST:
            share = self.cfg.upsampler.share
            return self.upsampler.step(batch, update, rng, done=(update.done - 1 + share) / share)
        first, _, last = (self.stage == name for name in STAGES)
        c, x = batch
        assert c is not None
        c, x = self._small(c), self._small(x)
        dropped = None if first else uniform(len(x), rng) < self.cfg.null
        with nullcontext() if last else self._frozen():
            loss = taught(*self._denoiser, x, self._told(c, dropped), rng).mean()
        learns = last or self.initializer.added()
        update.together([self.encoder, *([self.initializer] if learns else [])], loss)
        return {"loss_initializer": loss}

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """Inside, nothing that the denoiser has learnt before gets a gradient.

        Layers that have been added to it, so that it hears of tokens, learn with E.
        """
        with still(self.initializer):
            for p in self.initializer.added():
                p.requires_grad_(True)
            yield

    def _enter(self, update: Update) -> None:
        """Go on to the stage that is due. None is passed over, so that a short run has a step of each."""
        stages = self._stages()
        names = list(stages)
        due = next((i for i, end in enumerate(stages.values()) if update.done < end - 1e-9), len(names) - 1)
        at = names.index(self.stage) if self.stage else -1
        now = names[min(max(due, at), at + 1)]
        if self.stage and now != self.stage:
            for net in self.networks.values():
                if self.cfg.carry == "average":
                    update.take_average(net)
                if self.cfg.optimizers == "reset" or now == LAST:  # what begins there begins slowly
                    update.restart(net)
        self.stage = now
        self.initializer.eval()  # dropout draws from nothing that a resumed run could draw from again

    def _stages(self) -> dict[str, float]:
        """The stages that this training has, with the share of it at which each ends."""
        last = 0.0 if self.upsampler is None else self.cfg.upsampler.share
        encoder = self.cfg.encoder
        dropped = min(self.cfg.dropped, 1 - encoder)
        shares = [*((1 - last) * s for s in (encoder, dropped, 1 - encoder - dropped)), last]
        ends = accumulate(shares)
        return {n: end for n, s, end in zip((*STAGES, LAST), shares, ends, strict=True) if s > 1e-9}

    # ---- making pictures

    @torch.no_grad()
    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        """Drafts of ``cfg.draft_steps``, pictures of K steps (0: the drafts), both from one noise x_T.

        An upsampler enlarges the pictures; drafts, and what ``trace`` shows, are enlarged bilinearly.
        """
        assert c is not None
        told = self._told(self._small(c))
        null = self._null(self._small(c))
        made = draft_and_denoise(*self._denoiser, told, null, n, rng, refine=refine, trace=trace)
        if self.keep is keep_nothing and self.upsampler is None:
            return made
        drafts = images = self._shown(made.drafts, c)
        if refine != 0:
            images = self._enlarged(made.images, c, rng)
        first = self.energy(drafts, c)
        return made._replace(
            drafts=drafts,
            images=images,
            draft_energies=first,
            energies=first if refine == 0 else self.energy(images, c),
            trace=[*(self._shown(x, c) for x in made.trace[:-1]), images] if made.trace else [],
        )

    @torch.no_grad()
    def revise(self, drafts: Tensor, c: Tensor, rng: Noise, level: float, steps: int) -> Tensor:
        """Another method's drafts [N, C, H, W], noised to ``level`` and denoised (``denoising.revised``).

        With an upsampler that is done with the reduced draft, whose detail is then made anew.
        """
        low, given = self._small(drafts), self._small(c)
        made = revised(*self._denoiser, self._told(given), self._null(given), low, rng, level, steps)
        return self._enlarged(made, c, rng)

    @torch.no_grad()
    def energy(self, x: Tensor, c: Tensor | None) -> Tensor:
        """How badly θ tells the noise that is put on x [N], told of c; the same noise every time.

        With an upsampler: on x and c reduced, so that it says nothing of the detail.
        """
        assert c is not None
        return errors(*self._denoiser, self._small(x), self._told(self._small(c)))

    # ---- from small to large

    def _small(self, x: Tensor) -> Tensor:
        """Pictures or conditions as large as θ makes them."""
        return x if self.upsampler is None else self.upsampler.reduced(x)

    def _shown(self, x: Tensor, c: Tensor) -> Tensor:
        """What θ made, as large as is wanted."""
        return self.keep(x if self.upsampler is None else self.upsampler.blown(x), c)

    def _enlarged(self, x: Tensor, c: Tensor, rng: Noise) -> Tensor:
        """What θ made, with detail."""
        return self.keep(x if self.upsampler is None else self.upsampler.enlarge(x, c, rng), c)

    # ---- what the denoiser is told

    @property
    def _denoiser(self) -> tuple[Denoiser, Process, Config]:
        return self.initializer, self.process, self.cfg

    def _told(self, c: Tensor, dropped: Tensor | None = None) -> Told:
        return told_by(self.encoder, c, dropped)

    def _null(self, c: Tensor) -> Told | None:
        """What is told of no condition, as often as there are conditions; None without guidance."""
        if not self.cfg.guidance:
            return None
        one = self._told(c[:1], torch.ones(1, dtype=torch.bool, device=c.device))
        return Told(*(None if v is None else v.expand(len(c), *v.shape[1:]) for v in one))
