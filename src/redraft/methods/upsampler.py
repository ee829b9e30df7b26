"""PITI's last stage: a small picture and its condition, enlarged by a denoiser of full size.

Wang et al., arXiv:2205.12952. What a prior makes at 64 px is 256 px in the end. With x↓ the picture's area
means, ↑ bilinear enlargement and D a critic of patches:

    low = degraded(x↓)                                       the base's sample where pictures are made
    x_t = α_t x + σ_t ε                                      θ' is told x_t ‖ low↑, t and E'(y)
    ‖θ' − target‖²  +  w₁ perceptual(x̂_0, x)  +  w₂ (−D(x̂_0)),     x̂_0 the clean picture that θ' predicts

x̂_0 says little where noise is high: on the paper's schedule an error of ε is 157 times as large in x̂_0 at
t = 999 (0.34 times at t = 100), and the released code has nothing against it but that x̂_0 is kept in [-1, 1].
Here both losses look at it where t is low (``below``), and after a while (``after``). θ' and E' begin with
fresh weights, the paper's with a pretrained upsampler's; so θ' learns what is missing from a prediction that
low↑ gives by itself (``plain``), and a short training begins with that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.degrade import Degradation, degraded
from redraft.methods.contest import LOSSES, Contest, Loss, penalties
from redraft.methods.denoising import Attempt, Denoising, attempted, pictures, predictor, told_by
from redraft.methods.method import Update
from redraft.methods.thinking import still
from redraft.nets.condition_encoder import ConditionEncoder
from redraft.nets.denoiser import Denoiser
from redraft.nets.parts import Energy
from redraft.sampling.diffusion import Process, Schedule

Perceptual = Callable[[Tensor, Tensor], Tensor]  # (x̂, x) -> distance of each picture [N], with a slope in x̂
FACTORS = (1, 2, 4)
# deviation of a picture from its reduced one enlarged again, in a range of 2: less than of most (emoji 0.10
# at factor 2), since what is allowed for and not yet learnt is speckle
DETAIL = 0.05


@dataclass(frozen=True, kw_only=True)
class Upsampling:
    """Settings of PITI's upsampler."""

    factor: int = 1  # side of the pictures over that of the prior's, 2 or 4; 1: none; the paper's 4
    share: float = 0.4  # of the training; the released code does not say
    schedule: Schedule = Schedule(prediction="sample")  # released code: linear, epsilon
    scheduler: str = "dpm++"
    steps: int = 8  # of an enlargement; released code 27
    degraded: Degradation = Degradation()  # what it learns to enlarge
    perceptual: float = 0.1  # w₁, of the package's own distance; the paper's 0.004, of VGG's maps
    adversarial: float = 0.01  # w₂; the paper's 0.01
    loss: Loss = "hinge"  # of that contest; released code: wasserstein
    gradient_penalty: float = 0.0  # λ of the critic's; released code 10
    below: float = 0.5  # share of the schedule below whose t x̂_0 is looked at; the paper's 1
    after: float = 0.1  # share of the stage before which it is not; released code 100 steps
    plain: bool = True  # θ' learns what is missing from ``Upsampler.plain``, ours; released code: all of it

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise UsageError(f"method.upsampler.factor is 1 (none), 2 or 4, not {self.factor}.")
        if not 0 < self.share < 1:
            raise UsageError(
                f"method.upsampler.share is a share of the training, above 0 and below 1, not {self.share}; "
                "without an upsampler pictures have the prior's own side."
            )
        if not 1 <= self.steps <= self.schedule.steps:
            raise UsageError(
                f"method.upsampler.steps is at least 1 and at most schedule.steps, {self.schedule.steps}, "
                f"not {self.steps}."
            )
        for name in ("perceptual", "adversarial", "gradient_penalty"):
            if getattr(self, name) < 0:
                raise UsageError(
                    f"method.upsampler.{name} is a weight, 0 or more, not {getattr(self, name)}."
                )
        for name in ("below", "after"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"method.upsampler.{name} is a share, 0 to 1, not {getattr(self, name)}.")

    @property
    def denoising(self) -> Denoising:
        """The same as its denoiser is taught and sampled by: without guidance, as published."""
        return Denoising(
            schedule=self.schedule, scheduler=self.scheduler, steps=self.steps, draft_steps=1, null=0.0
        )

    @property
    def contest(self) -> Contest:
        return Contest(loss=self.loss, gradient_penalty=self.gradient_penalty)


class Upsampler(nn.Module):
    """A condition encoder E', a denoiser θ' that sees C channels beside x_t, and a critic of patches."""

    begun: Tensor  # 1 once it has been taught

    def __init__(
        self,
        cfg: Upsampling,
        *,
        encoder: ConditionEncoder,
        denoiser: Denoiser,
        critic: Energy | None = None,
        perceptual: Perceptual | None = None,
    ) -> None:
        """``critic`` where ``cfg.adversarial``; ``perceptual`` is no part of the model, but of training."""
        super().__init__()
        if (cfg.adversarial > 0) != (critic is not None):
            raise ValueError("an upsampler has a critic where method.upsampler.adversarial is more than 0")
        if cfg.perceptual and perceptual is None:
            raise ValueError("method.upsampler.perceptual needs a perceptual distance")
        self.cfg, self.process = cfg, Process(cfg.schedule)
        self.process.scheduler(cfg.scheduler, "method.upsampler.scheduler")  # refuses one that does not fit
        self.encoder, self.denoiser, self.critic = encoder, denoiser, critic
        self._distance = (perceptual,)  # in a tuple: a network in it is not saved with the model
        self.register_buffer("begun", torch.zeros((), dtype=torch.uint8))

    @property
    def networks(self) -> dict[str, nn.Module]:
        critic = {} if self.critic is None else {"critic": self.critic}
        return {"upsampler_encoder": self.encoder, "upsampler": self.denoiser, **critic}

    # ---- training

    def step(self, batch: Pair, update: Update, rng: Noise, done: float) -> dict[str, Tensor]:
        """One step of θ' and E', and of the critic; ``done`` is the share of the stage that lies behind."""
        self.begun.fill_(1)
        c, x = batch
        assert c is not None
        low = degraded(self.reduced(x), self.cfg.degraded, rng)
        made = attempted(
            self._seeing(low), self.process, self.cfg.denoising, x, told_by(self.encoder, c), rng
        )
        error = made.error.mean()
        clean, seen = self.clean(made), self.seen(made.t, done)
        near = self._perceptual(clean, x, seen)
        real, told_apart = self._contend(clean, x, seen, update, rng)
        cfg = self.cfg
        loss = error + cfg.perceptual * near + cfg.adversarial * real
        update.together([self.encoder, self.denoiser], loss)
        return {"loss_upsampler": error, "perceptual": near, "loss_contest": real, **told_apart}

    def clean(self, made: Attempt) -> Tensor:
        """x̂_0 [N, C, S, S], kept in [-1, 1]: what lies beyond has no slope."""
        return self.process.clean(made.x_t, made.predicted, made.t).clamp(-1, 1)

    def seen(self, t: Tensor, done: float) -> Tensor:
        """Which x̂_0 are looked at, 1 or 0 [N]."""
        if done < self.cfg.after:
            return torch.zeros(len(t), device=t.device)
        return (t < self.cfg.below * self.cfg.schedule.steps).float()

    def _perceptual(self, clean: Tensor, x: Tensor, seen: Tensor) -> Tensor:
        (distance,) = self._distance
        if distance is None or not self.cfg.perceptual:
            return x.new_zeros(())
        return (seen * distance(clean, x)).mean()

    def _contend(
        self, clean: Tensor, x: Tensor, seen: Tensor, update: Update, rng: Noise
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's turn, and the loss of x̂_0 being taken for real.

        A picture that is not looked at has logits of 0 in both: it counts as undecided, without a slope. So
        losses stay means over all pictures, which is what micro-batches and processes share.
        """
        critic, loss = self.critic, LOSSES[self.cfg.loss]
        if critic is None:
            return x.new_zeros(()), {}
        made = clean.detach()
        real, fake = critic.logits(torch.cat([x, made]), ()).flatten(1).chunk(2)
        verdict = loss.discriminator(seen[:, None] * real, seen[:, None] * fake)
        penalty = penalties(critic, x, made, (), self.cfg.contest, rng)
        update(critic, verdict + penalty)
        with still(critic):
            taken = loss.generator(seen[:, None] * critic.logits(clean, ()).flatten(1))
        return taken, {
            "loss_critic": verdict,
            "critic_real": _mean(real, seen),
            "critic_made": _mean(fake, seen),
        }

    # ---- making pictures

    def reduced(self, x: Tensor) -> Tensor:
        """Area means [N, C, S / factor, S / factor] of pictures, or of conditions."""
        return F.avg_pool2d(x, self.cfg.factor)

    def blown(self, low: Tensor) -> Tensor:
        """Small pictures [N, C, s, s], enlarged bilinearly."""
        return F.interpolate(low, scale_factor=self.cfg.factor, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def enlarge(self, low: Tensor, c: Tensor, rng: Noise) -> Tensor:
        """Pictures [N, C, S, S] in [-1, 1] of small ones [N, C, s, s] and full conditions c [N, Cc, S, S].

        Before it has been taught anything: bilinearly.
        """
        if not self.begun.item():
            return self.blown(low)
        cfg = self.cfg.denoising
        predict = predictor(self._seeing(low), self.process, cfg, told_by(self.encoder, c), None)
        noise = rng.normal(len(low), *self.denoiser.z_shape)
        made, _ = pictures(predict, self.process, cfg, noise, rng, steps=cfg.steps)
        return made

    def _seeing(self, low: Tensor) -> Callable[..., Tensor]:
        """θ' with the small pictures, in 8 bits, beside x_t; ``plain`` is added to what it makes."""
        beside = self.blown(quantised(low))

        def predict(x_t: Tensor, t: Tensor, *told: Tensor | None) -> Tensor:
            made = self.denoiser(x_t, t, *told, beside=beside)
            return self.plain(x_t, t, beside) + made if self.cfg.plain else made

        return predict

    def plain(self, x_t: Tensor, t: Tensor, blown: Tensor) -> Tensor:
        """The best prediction for x ~ N(``blown``, ``DETAIL``²), of which nothing need be learnt."""
        alpha, sigma = self.process.at(t, x_t)
        kept = DETAIL**2 * alpha / ((DETAIL * alpha).square() + sigma.square())
        clean = blown + kept * (x_t - alpha * blown)
        return self.process.target(clean, (x_t - alpha * clean) / sigma, t)


def quantised(x: Tensor) -> Tensor:
    """Pictures in [-1, 1], rounded to 8 bits; released code."""
    return (127.5 * (x.clamp(-1, 1) + 1)).round() / 127.5 - 1


def _mean(logits: Tensor, seen: Tensor) -> Tensor:
    """Of the pictures that are looked at; 0 where none is."""
    return (seen[:, None] * logits.detach()).mean(1).sum() / seen.sum().clamp_min(1)
