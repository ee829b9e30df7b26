"""Diffusion: noise added by a schedule, and taken away again in steps by diffusers' solvers.

    x_t = α_t x_0 + σ_t ε,     ε ~ N(0, I),     t = 0 … T − 1

(Sohl-Dickstein et al. 2015, arXiv:1503.03585; Ho, Jain, Abbeel 2020, arXiv:2006.11239.) A denoiser is taught
one of four things, each a mixture a x_0 + b ε, so that from x_t and any of them both x_0 and ε follow:

    epsilon   ε                     Ho et al.
    v         α_t ε − σ_t x_0       Salimans, Ho 2022, arXiv:2202.00512
    sample    x_0
    flow      ε − x_0               flow matching; Lipman et al. 2023, arXiv:2210.02747
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from redraft.core.errors import UsageError, unknown
from redraft.core.rng import Noise

Prediction = Literal["epsilon", "v", "sample", "flow"]
Kind = Literal["cosine", "linear", "scaled_linear", "flow"]
Moments = Literal["empirical", "analytic", "none"]
Predict = Callable[[Tensor, Tensor], Tensor]  # (x_t [N, C, H, W], t int64 [N]) -> the denoiser's prediction
GET = 'pip install "redraft[diffusion]"'
PURE = 1e-3  # α below which x_t is taken for noise alone: of what it hides float32 knows too little
LARGEST = 0.999  # β at most; Nichol, Dhariwal 2021
NOISIEST = -4.0  # log α/σ below which a picture is not yet begun
SECOND, NOISY = ("dpm++", "sde-dpm++"), ("ddpm", "sde-dpm++")  # of second order; with draws of their own
SOLVERS = ("dpm++", "sde-dpm++", "ddim", "ddpm")  # of schedules that keep the variance
FLOW_SOLVERS = ("flow-euler",)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How noise grows with t, and what the denoiser is taught."""

    kind: Kind = "cosine"  # Nichol, Dhariwal 2021, arXiv:2102.09672; flow: α = 1 − σ, σ = (t + 1)/T
    steps: int = 1000  # T
    beta_start: float = 1e-4  # β of t = 0, kinds linear and scaled_linear; Ho et al.
    beta_end: float = 2e-2  # β of t = T − 1
    prediction: Prediction = "v"

    def __post_init__(self) -> None:
        if not 2 <= self.steps <= 100_000:
            raise UsageError(f"schedule.steps lies between 2 and 100000, not {self.steps}.")
        if self.kind == "flow" and self.prediction == "epsilon":
            raise UsageError(
                "schedule.kind=flow begins at noise alone, from which ε says nothing of x_0: set "
                "schedule.prediction=flow, v or sample."
            )
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise UsageError(
                "schedule.beta_start and beta_end lie between 0 and 1, the first not above the second, not "
                f"{self.beta_start} and {self.beta_end}."
            )


def betas(schedule: Schedule) -> Tensor:
    """β_t float64 [T], α_t² = Π (1 − β); for schedules that keep the variance."""
    n = schedule.steps
    if schedule.kind == "cosine":
        kept = torch.cos((torch.arange(n + 1, dtype=torch.float64) / n + 0.008) / 1.008 * math.pi / 2) ** 2
        return (1 - kept[1:] / kept[:-1]).clamp_max(LARGEST)
    start, end = schedule.beta_start, schedule.beta_end
    if schedule.kind == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, n, dtype=torch.float64) ** 2
    return torch.linspace(start, end, n, dtype=torch.float64)


def levels(schedule: Schedule) -> tuple[Tensor, Tensor]:
    """α and σ, float64 [T]."""
    if schedule.kind == "flow":
        sigma = torch.arange(1, schedule.steps + 1, dtype=torch.float64) / schedule.steps
        return 1 - sigma, sigma
    kept = (1 - betas(schedule)).cumprod(0)
    return kept.sqrt(), (1 - kept).sqrt()


class Process:
    """The noising of one schedule, forwards and back. Nothing in it is learned or saved.

    ``x``, ``eps``, ``predicted`` are [N, C, H, W] of any one float dtype, t is int64 [N] in 0 … T − 1.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.alpha, self.sigma = levels(schedule)
        self._at: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def at(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """α_t and σ_t [N, 1, 1, 1], of the dtype and on the device of ``like``."""
        key = (like.device, like.dtype)
        if key not in self._at:  # rounded first: a device may have no float64
            alpha, sigma = (v.to(like.dtype).to(like.device) for v in (self.alpha, self.sigma))
            self._at[key] = alpha, sigma
        alpha, sigma = self._at[key]
        return alpha[t].view(-1, 1, 1, 1), sigma[t].view(-1, 1, 1, 1)

    def mixture(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """a and b of the prediction a x_0 + b ε."""
        none, one = torch.zeros_like(alpha), torch.ones_like(alpha)
        known = {"epsilon": (none, one), "v": (-sigma, alpha), "sample": (one, none), "flow": (-one, one)}
        return known[self.schedule.prediction]

    def noised(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = α_t x_0 + σ_t ε."""
        alpha, sigma = self.at(t, x0)
        return alpha * x0 + sigma * eps

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """What a denoiser of x_t is to predict."""
        a, b = self.mixture(*self.at(t, x0))
        return a * x0 + b * eps

    def clean(self, x_t: Tensor, predicted: Tensor, t: Tensor) -> Tensor:
        """x̂_0, as predicted."""
        alpha, sigma = self.at(t, x_t)
        a, b = self.mixture(alpha, sigma)
        return (sigma * predicted - b * x_t) / (a * sigma - b * alpha)

    def noise(self, x_t: Tensor, predicted: Tensor, t: Tensor) -> Tensor:
        """ε̂, as predicted."""
        alpha, sigma = self.at(t, x_t)
        a, b = self.mixture(alpha, sigma)
        return (a * x_t - alpha * predicted) / (a * sigma - b * alpha)

    def predicted(self, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """What the denoiser would have predicted, had it meant ``eps``: the inverse of ``noise``."""
        alpha, sigma = self.at(t, x_t)
        a, b = self.mixture(alpha, sigma)
        return (a * x_t - (a * sigma - b * alpha) * eps) / alpha

    def weight(self, t: Tensor, like: Tensor, gamma: float) -> Tensor:
        """min-SNR weight [N, 1, 1, 1] of the squared error: that of x̂_0 then weighs min(α²/σ², γ).

        Hang et al. 2023, arXiv:2303.09556, eq. 8, there with γ = 5.
        """
        alpha, sigma = self.at(t, like)
        a, b = self.mixture(alpha, sigma)
        snr = (alpha / sigma).square()
        per_clean = (a - b * alpha / sigma).square()  # squared error of the prediction, of one unit of x̂_0's
        return snr.clamp_max(gamma) / per_clean

    # ---- taking noise away

    def scheduler(self, name: str, key: str = "method.scheduler") -> Any:
        """A diffusers scheduler of this schedule, that is told x̂_0; UsageError for a name that does not fit,
        with the setting ``key`` that holds it.

        ddim (Song, Meng, Ermon 2021, arXiv:2010.02502) and ddpm are the first-order steps of dpm++ and
        sde-dpm++ (Lu et al. 2022, arXiv:2211.01095), exactly; Euler's of the same flow is ddim.
        """
        flow = self.schedule.kind == "flow"
        fitting = FLOW_SOLVERS if flow else SOLVERS
        if name not in fitting:
            if name in SOLVERS + FLOW_SOLVERS:
                raise UsageError(
                    f"{key}={name} is not for schedules of kind {self.schedule.kind}; use "
                    f"{' or '.join(fitting)}."
                )
            raise unknown("scheduler", name, fitting)
        if importlib.util.find_spec("diffusers") is None:
            raise UsageError(f"Diffusion needs diffusers, which is missing: {GET}.")
        import diffusers

        if flow:
            return diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=len(self.alpha))
        return diffusers.DPMSolverMultistepScheduler(
            num_train_timesteps=len(self.alpha),
            trained_betas=betas(self.schedule).numpy(),
            prediction_type="sample",
            algorithm_type="sde-dpmsolver++" if name in NOISY else "dpmsolver++",
            solver_order=2 if name in SECOND else 1,
            final_sigmas_type="zero",
        )

    def times(self, name: str, begin: int, steps: int) -> list[int]:
        """``steps`` times from ``begin`` − 1 downwards, at which a solver looks.

        Even in t, begun where nothing but noise is left (Lin et al. 2024, arXiv:2305.08891); of the second
        order even in log α/σ (Lu et al. 2022), without which few steps lose what is fine: of independent
        N(0, 0.06²) 8 steps of dpm++ keep 97 % of the deviation, even in t 27 %.
        """
        if name not in SECOND:
            return [round(begin - i * begin / steps) - 1 for i in range(steps)]
        rise = (self.alpha / self.sigma).log().flip(0)  # of t = T − 1 … 0
        wanted = torch.linspace(max(float(rise[-begin]), NOISIEST), float(rise[-1]), steps, dtype=rise.dtype)
        found = len(rise) - 1 - torch.searchsorted(rise, wanted).clamp_max(len(rise) - 1)
        times = [begin - 1]
        for i, t in enumerate(found.tolist()[1:], 1):
            times.append(min(max(t, steps - 1 - i), times[-1] - 1))  # each one its own
        return times


@torch.no_grad()
def sample(
    process: Process,
    predict: Predict,
    x: Tensor,
    rng: Noise,
    *,
    steps: int,
    scheduler: str = "dpm++",
    level: float = 1.0,
    bound: float = 0.0,
    trace: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """x_0 [N, C, H, W] from x in ``steps`` steps; with ``trace`` what x̂_0 was before each, and x_0.

    At ``level`` 1 x is noise x_T. Below, it is a draft of x_0, which is noised to that share of the schedule
    and denoised from there (SDEdit; Meng et al. 2022, arXiv:2108.01073). x̂_0 is kept within ±``bound`` (0: as
    it is). Draws come from ``rng`` where a draft is noised, and in the solvers that are no ODE's.
    """
    if not 0 < level <= 1:
        raise UsageError(
            f"The level of noise is a share of the schedule, above 0 and at most 1, not {level}."
        )
    solver = process.scheduler(scheduler)
    begin = max(1, round(level * len(process.alpha)))
    times = process.times(scheduler, begin, min(steps, begin))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # diffusers makes numpy's of torch's numbers
        if scheduler in FLOW_SOLVERS:
            solver.set_timesteps(sigmas=[float(process.sigma[t]) for t in times], device=x.device)
        else:
            solver.set_timesteps(timesteps=times, device=x.device)
    if level < 1:
        x = process.noised(x, rng.normal(*x.shape), _every(x, times[0]))
    seen = []
    for i, t in enumerate(times):
        now = _every(x, t)
        clean = process.clean(x, predict(x, now), now)
        if bound:
            clean = clean.clamp(-bound, bound)
        if trace:
            seen.append(clean)
        x = _step(solver, scheduler, clean, solver.timesteps[i], x, float(process.sigma[t]), rng)
    return x, [*seen, x] if trace else []


def _every(x: Tensor, t: int) -> Tensor:
    return torch.full((len(x),), t, device=x.device)


def _step(solver: Any, name: str, clean: Tensor, t: Tensor, x: Tensor, sigma: float, rng: Noise) -> Tensor:
    if name in FLOW_SOLVERS:
        return solver.step((x - clean) / sigma, t, x, return_dict=False)[0]
    noisy = {"variance_noise": rng.normal(*x.shape)} if name in NOISY else {}
    return solver.step(clean, t, x, return_dict=False, **noisy)[0]


# ---- guidance


def guided(eps_c: Tensor, eps_0: Tensor, w: float, moments: Moments = "empirical") -> Tensor:
    """Normalised classifier-free guidance of noise predicted with a condition and without, [N, C, H, W].

    ε̂ = ε_c + w (ε_c − ε_∅) (Ho, Salimans 2022, arXiv:2207.12598, whose scale is 1 + w), then moved and
    stretched so that each picture's mean and deviation are those of ε_c (Wang et al. 2022, arXiv:2205.12952).
    Moments of ε̂: "empirical", its own; "analytic", the paper's formulas, which take ε_c and ε_∅ for
    independent: they are nearly the same, so that too little noise is left (docs/methods); "none": plain.
    """
    eps = eps_c + w * (eps_c - eps_0)
    if moments == "none" or w == 0:
        return eps
    mean, sd = _moments(eps_c)
    if moments == "empirical":
        made_mean, made_sd = _moments(eps)
    else:
        mean_0, sd_0 = _moments(eps_0)
        made_mean = mean + w * (mean - mean_0)
        made_sd = ((1 + w) ** 2 * sd.square() + w**2 * sd_0.square()).sqrt()
    return sd / made_sd.clamp_min(torch.finfo(eps.dtype).tiny) * (eps - made_mean) + mean


def _moments(eps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each picture's numbers, [N, 1, 1, 1]."""
    flat = eps.flatten(1)
    shape = (-1, *[1] * (eps.ndim - 1))
    return flat.mean(1).view(shape), flat.std(1, unbiased=False).view(shape)


def two_in_one(predict_both: Predict, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions with the condition and without, in one batched pass.

    ``predict_both`` is given every x_t twice, [2N, ...]: the first N with their conditions, then without.
    """
    with_c, without = predict_both(torch.cat([x_t, x_t]), torch.cat([t, t])).chunk(2)
    return with_c, without


def guide(process: Process, predict_both: Predict, w: float, moments: Moments = "empirical") -> Predict:
    """The guided prediction as a ``Predict`` of its own; for ``predict_both`` see ``two_in_one``.

    Where nearly nothing but noise is left, noise says nearly nothing of x_0, and what is done to it is lost
    or blown up in what is predicted: there it is guided plainly.
    """

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        with_c, without = two_in_one(predict_both, x_t, t)
        plain = with_c + w * (with_c - without)
        if moments == "none":
            return plain
        eps = guided(process.noise(x_t, with_c, t), process.noise(x_t, without, t), w, moments)
        alpha, _ = process.at(t, x_t)
        return torch.where(alpha > PURE, process.predicted(x_t, eps, t), plain)

    return predict
