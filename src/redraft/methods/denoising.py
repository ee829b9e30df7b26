"""What every method with a denoiser does: teach it, make pictures in steps, score a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from redraft.core.errors import UsageError
from redraft.core.rng import Noise, stream, uniform
from redraft.methods.method import Sample
from redraft.nets.condition_encoder import ConditionEncoder
from redraft.nets.denoiser import Denoiser
from redraft.sampling.diffusion import Moments, Predict, Process, Schedule, guide, sample

HUGE = 20.0  # of guidance; beyond it there is nothing but the ends of the range
SCORED = (0.1, 0.3, 0.5, 0.7, 0.9)  # shares of the schedule at which a picture is scored


@dataclass(frozen=True, kw_only=True)
class Denoising:
    """Settings of a denoiser's teaching and sampling; every such method's ``Config`` has them."""

    schedule: Schedule = Schedule()
    scale: float = 1.0  # what is noised is this times a picture in [-1, 1]; of latents 3.5, so that sd is 1
    guidance: float = 0.0  # w: ε_c + w (ε_c − ε_∅), whose other name is a scale of 1 + w; PITI 0.3; 0: none
    moments: Moments = "empirical"  # what is kept of the guided noise; see sampling.diffusion.guided
    scheduler: str = "dpm++"  # diffusers' solver; PITI's "ddpm" in 250 steps
    draft_steps: int = 8  # of a draft
    steps: int = 25  # K of a refined picture, from the same noise as its draft
    null: float = 0.1  # share of the conditions that are dropped in training; Ho, Salimans 2022; PITI 0.2
    # γ of the weights min(SNR, γ), 0: all t weigh alike; Hang et al. 2023: 5. None: 5 where the clean picture
    # is predicted, whose error is nearly all of high noise's, and 0 elsewhere
    min_snr: float | None = None
    bound: float = 1.0  # x̂_0 is kept within ± this times ``scale`` while sampling, 0: it is not; DDPM's

    def __post_init__(self) -> None:
        if not 0 <= self.guidance <= HUGE:
            raise UsageError(
                f"method.guidance is w of ε_c + w (ε_c − ε_∅): 0 (none) to {HUGE:g}, not {self.guidance}; "
                "what others call a guidance scale is 1 + w."
            )
        if min(self.draft_steps, self.steps) < 1 or max(self.draft_steps, self.steps) > self.schedule.steps:
            raise UsageError(
                "method.draft_steps and method.steps are at least 1 and at most schedule.steps, "
                f"{self.schedule.steps}, not {self.draft_steps} and {self.steps}."
            )
        if not 0 <= self.null < 1:
            raise UsageError(f"method.null is a share below 1, not {self.null}.")
        if self.guidance and not self.null:
            raise UsageError(
                "method.guidance needs a denoiser that knows no condition too: set method.null=0.1."
            )
        if self.scale <= 0 or self.gamma < 0 or self.bound < 0:
            raise UsageError("method.scale is more than 0, method.min_snr and method.bound are 0 or more.")

    @property
    def gamma(self) -> float:
        """γ of the weights, 0: none."""
        if self.min_snr is None:
            return 5.0 if self.schedule.prediction == "sample" else 0.0
        return self.min_snr


class Told(NamedTuple):
    """What a denoiser is told beside x_t and t; None: unsaid."""

    tokens: Tensor | None = None  # [N, T, D], or categories int64 [N], -1 for none
    vector: Tensor | None = None  # [N, D]
    hint: Tensor | None = None  # [N, *canvas], added to what the first layer makes of x_t

    def before(self, other: Told) -> Told:
        """Both, one after the other; what one says and the other not cannot be."""
        pairs = zip(self, other, strict=True)
        return Told(*(None if a is None or b is None else torch.cat([a, b]) for a, b in pairs))


def told_by(encoder: ConditionEncoder, c: Tensor, dropped: Tensor | None = None) -> Told:
    """What PITI's encoder says of c [N, Cc, S, S]; rows that are ``dropped`` [N] have no condition.

    Places are read as words are; the last token, of the whole picture, is added to the time.
    """
    tokens = encoder(c, dropped)
    return Told(tokens[:, :-1], encoder.vector(tokens), encoder.hint(c, dropped))


class Attempt(NamedTuple):
    """What a denoiser made of noised pictures."""

    x_t: Tensor  # [N, C, s, s]
    t: Tensor  # int64 [N]
    predicted: Tensor  # [N, C, s, s]
    error: Tensor  # [N]: squared, mean over a picture's numbers


def attempted(
    denoiser: Callable[..., Tensor], process: Process, cfg: Denoising, x: Tensor, told: Told, rng: Noise
) -> Attempt:
    """The prediction for pictures x [N, C, s, s] in [-1, 1], each at one t, and its squared error."""
    x0 = cfg.scale * x
    steps = cfg.schedule.steps
    t = (uniform(len(x), rng) * steps).long().clamp_max(steps - 1)
    eps = rng.normal(*x.shape)
    x_t = process.noised(x0, eps, t)
    made = denoiser(x_t, t, *told)
    error = (made - process.target(x0, eps, t)).square()
    if cfg.gamma:
        error = process.weight(t, error, cfg.gamma) * error
    return Attempt(x_t, t, made, error.flatten(1).mean(1))


def taught(denoiser: Denoiser, process: Process, cfg: Denoising, x: Tensor, told: Told, rng: Noise) -> Tensor:
    """Squared error of the prediction for pictures x [N, C, s, s] in [-1, 1], each at one t: [N]."""
    return attempted(denoiser, process, cfg, x, told, rng).error


def predictor(
    denoiser: Callable[..., Tensor], process: Process, cfg: Denoising, told: Told, null: Told | None
) -> Predict:
    """The denoiser with its condition bound, guided away from ``null`` where there is guidance."""
    if null is None or not cfg.guidance:
        return lambda x_t, t: denoiser(x_t, t, *told)
    both = told.before(null)
    return guide(process, lambda x_t, t: denoiser(x_t, t, *both), cfg.guidance, cfg.moments)


def pictures(
    predict: Predict,
    process: Process,
    cfg: Denoising,
    start: Tensor,
    rng: Noise,
    *,
    steps: int,
    level: float = 1.0,
    trace: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """Pictures in [-1, 1] from noise ``start`` (level 1) or from drafts in [-1, 1] noised to ``level``."""
    made, seen = sample(
        process,
        predict,
        start if level == 1 else cfg.scale * start,
        rng,
        steps=steps,
        scheduler=cfg.scheduler,
        level=level,
        bound=cfg.bound * cfg.scale,
        trace=trace,
    )
    return _shown(made, cfg), [_shown(x, cfg) for x in seen]


@torch.no_grad()
def revised(
    denoiser: Denoiser,
    process: Process,
    cfg: Denoising,
    told: Told,
    null: Told | None,
    drafts: Tensor,
    rng: Noise,
    level: float,
    steps: int,
) -> Tensor:
    """Another method's drafts [N, C, s, s] in [-1, 1], noised to ``level`` and denoised from there.

    ``level`` lies in (0, 1]: at 1 nothing is left of a draft; the lower, the more is kept (SDEdit; Meng et
    al. 2022, arXiv:2108.01073).
    """
    start = rng.normal(*drafts.shape) if level == 1 else drafts
    predict = predictor(denoiser, process, cfg, told, null)
    return pictures(predict, process, cfg, start, rng, steps=steps, level=level)[0]


def draft_and_denoise(
    denoiser: Denoiser,
    process: Process,
    cfg: Denoising,
    told: Told,
    null: Told | None,
    n: int,
    rng: Noise,
    *,
    refine: int | None = None,
    trace: bool = False,
) -> Sample:
    """n drafts in ``draft_steps``, and n pictures from the same noise in K = ``refine`` (None: ``steps``)."""
    k = cfg.steps if refine is None else refine
    with torch.no_grad():
        predict = predictor(denoiser, process, cfg, told, null)
        z = rng.normal(n, *denoiser.z_shape)
        drafts, seen = pictures(predict, process, cfg, z, rng, steps=cfg.draft_steps, trace=trace and not k)
        images = drafts
        if k:
            images, seen = pictures(predict, process, cfg, z, rng, steps=k, trace=trace)
        first = errors(denoiser, process, cfg, drafts, told)
        last = errors(denoiser, process, cfg, images, told) if k else first
        along = [errors(denoiser, process, cfg, x, told) for x in seen[:-1]]
    energies = torch.stack(along) if along else first.new_zeros(0, n)
    return Sample(drafts, images, first, last, seen, energies)


@torch.no_grad()
def errors(denoiser: Denoiser, process: Process, cfg: Denoising, x: Tensor, told: Told) -> Tensor:
    """E(x, c) [N]: mean squared error of the noise told from x_t, at five t and always the same noise.

    The evidence bound of Ho et al. without its weights, and so a score of how usual a picture is.
    """
    total = x.new_zeros(len(x))
    for share in SCORED:
        t = torch.full((len(x),), int(share * len(process.alpha)), device=x.device)
        eps = _noise(share, x.shape[1:]).to(x).expand_as(x)
        x_t = process.noised(cfg.scale * x, eps, t)
        total += (process.noise(x_t, denoiser(x_t, t, *told), t) - eps).square().flatten(1).mean(1)
    return total / len(SCORED)


@cache
def _noise(share: float, shape: torch.Size) -> Tensor:
    return torch.randn(shape, generator=stream(0, "diffusion", str(share)))


def _shown(x0: Tensor, cfg: Denoising) -> Tensor:
    return (x0 / cfg.scale).clamp(-1, 1)
