"""A prior: the diffusion model that a run begins with, as plain values that a file can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redraft.core.errors import BundleError, UsageError
from redraft.core.types import Spec
from redraft.methods.upsampler import FACTORS
from redraft.nets.denoiser import DenoiserConfig
from redraft.nets.experts.hugging import quiet
from redraft.nets.prior import Read, read
from redraft.sampling.diffusion import Kind, Prediction, Schedule, levels
from redraft.spaces.bridge import REACH

SIDES, LARGEST = 16, 1024  # px: what a picture's side is a multiple of, and at most, where one is given
BETAS: dict[str, Kind] = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}
PREDICTIONS: dict[str, Prediction] = {
    "epsilon": "epsilon",
    "v_prediction": "v",
    "sample": "sample",
    "flow_prediction": "flow",
}
FLOWS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
NOISED = (  # schedulers of diffusers that take a table of betas: how they go back does not matter here
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LMSDiscreteScheduler",
    "LCMScheduler",
)


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Which diffusion model, and all that decides how it is used; its weights are then the run's own."""

    name: str = ""  # the folder, run or hub's name; "": none
    fingerprint: str = ""  # SHA-256 of its network; a run of redraft: of its model
    denoiser: DenoiserConfig = DenoiserConfig()
    schedule: Schedule = Schedule()
    latent: str = ""  # the image expert in whose latent space it works; "": pixels
    scale: float = 1.0  # times what networks make is what is noised: 1 of pixels
    channels: int = 0  # of what it makes
    size: int = 0  # side of what it makes that it was trained at; 0: not told
    multiple: int = 1  # of this a side must be; 0: no other side than its own
    first_t: int = 0  # what it is told for t = 0; a flow of diffusers, which is told σ T, 1
    min_snr: float | None = None  # γ that it was taught with, if one was chosen
    # its network and noise, but none of its weights: what shows what they are worth. Stages 1 and 2, in which
    # they are frozen, are then left out
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A prior and its weights."""

    prior: Prior
    state: dict[str, Tensor]  # of the bare network: Denoiser.fill takes it
    scales: dict[str, Tensor] = field(default_factory=dict)  # of the bridge to its latent; {}: of pixels


def load(name: str) -> Loaded:
    """A diffusers model by its folder or its name in the hub; UsageError or BundleError say what is wrong."""
    found, state = read(name)
    schedule = schedule_of(found.scheduler, name)
    prior = Prior(
        name=name,
        fingerprint=found.fingerprint,
        denoiser=DenoiserConfig(kind=found.kind, config=found.config),
        schedule=schedule,
        latent=_latent(name, found),
        scale=REACH if found.vae else 1.0,
        channels=found.channels,
        size=found.size,
        multiple=found.multiple,
        first_t=1 if schedule.kind == "flow" else 0,
    )
    return Loaded(prior=prior, state=state, scales=_unscaled(found))


def _latent(name: str, found: Read) -> str:
    """The image expert's name; the hub's is known on every machine."""
    if not found.vae:
        return ""
    return f"image:{found.vae}" if Path(name).is_dir() else f"image:{name}/{found.vae.name}"


def _unscaled(found: Read) -> dict[str, Tensor]:
    """A latent goes to its prior as the expert scales it; ``scale`` undoes the bridge's own ``REACH``."""
    if not found.vae:
        return {}
    return {"mean": torch.zeros(found.channels, 1, 1), "std": torch.ones(found.channels, 1, 1)}


def enlarging(prior: Prior, size: int) -> int:
    """How many times as large as what the prior was trained at pictures of ``size`` px are, if an upsampler
    is to make them, as the paper's (64 px to 256).

    1 at other sides, which a prior takes itself or not at all, and of latents, which a decoder enlarges.
    """
    if prior.latent:
        return 1
    return next((f for f in FACTORS if f * prior.size == size), 1)


def small(spec: Spec, factor: int) -> Spec:
    """What a prior works between, whose pictures an upsampler makes ``factor`` times as large."""
    return spec if factor == 1 else replace(spec, size=spec.size // factor, side=0)


def fit(prior: Prior, spec: Spec, size: int, by: int = 1) -> None:
    """UsageError, saying what would fit, where a prior cannot make what ``spec`` wants.

    ``spec`` is what it works between (``small``), ``size`` the side in px of the pictures that are wanted in
    the end, which an upsampler makes ``by`` times as large; a latent's side differs from both.
    """
    what = "latents" if prior.latent else "pictures"
    if spec.channels != prior.channels:
        kinds = {1: "grey", 3: "colour"}
        is_, wanted = (kinds.get(n, f"{n}-channel") for n in (prior.channels, spec.channels))
        raise UsageError(
            f"The prior {prior.name} makes {is_} {what} ({prior.channels} channels), and {wanted} ones "
            f"({spec.channels}) are wanted: a prior for {spec.channels} channels fits."
        )
    px = max(1, size // by // spec.size)  # of a picture, for one place of what it makes
    own = px * prior.size
    if not prior.multiple and spec.size != prior.size:
        raise UsageError(
            f"The prior {prior.name} was trained here at {own} px and has no other side: "
            f"{_advice(own, () if prior.latent else FACTORS[1:], by)}."
        )
    if size % (step := by * px * max(1, prior.multiple)):
        step = math.lcm(step, SIDES)
        near = sorted({max(step, size // step * step), (size // step + 1) * step})
        trained = f" (it was trained at {own} px)" if prior.size else ""
        enlarged = f", made {by} times as large by an upsampler," if by > 1 else ""
        raise UsageError(
            f"The prior {prior.name} makes pictures{enlarged} whose side is a multiple of {step} px, not "
            f"{size}{trained}: "
            + " or ".join(f"--size {n}" for n in near if n <= LARGEST or n == near[0])
            + "."
        )


def _advice(own: int, factors: tuple[int, ...], by: int) -> str:
    """Sides that pictures can have, of a prior that was trained here at ``own`` px."""
    itself, *larger = (n if n % SIDES == 0 and n <= LARGEST else 0 for n in (f * own for f in (1, *factors)))
    if by > 1:
        return f"--size {by * own}" if by * own in larger else "leave method.upsampler.factor out"
    by_it = " or ".join(str(n) for n in larger if n)
    if not itself:
        return f"--size {by_it} by an upsampler" if by_it else "train another one"
    return f"--size {itself}" + f", or {by_it} by an upsampler" * bool(by_it)


def schedule_of(settings: Mapping[str, Any], name: str) -> Schedule:
    """How a scheduler of diffusers adds noise, and what its denoiser predicts.

    ``settings``: its scheduler_config.json; what that leaves out is as its class has it. BundleError for
    classes, predictions and noise that are not known here.
    """
    kind = str(settings.get("_class_name"))
    if kind not in (*FLOWS, *NOISED):
        raise BundleError(
            f"The prior {name} has a scheduler that is not known here, {kind}: known are "
            f"{', '.join(FLOWS + NOISED)}."
        )
    scheduler = _made(kind, settings, name)
    config = scheduler.config
    steps = int(config.num_train_timesteps)
    if kind in FLOWS or config.get("use_flow_sigmas"):
        return Schedule(kind="flow", steps=steps, prediction="flow")
    predicted = str(config.get("prediction_type"))
    if predicted not in PREDICTIONS or config.get("timestep_type") == "continuous":
        raise BundleError(
            f"The prior {name} predicts {predicted}"
            + (" at continuous times" if predicted in PREDICTIONS else "")
            + f", which is not known here: known are {', '.join(PREDICTIONS)} at whole steps."
        )
    schedule = Schedule(
        kind=BETAS.get(str(config.beta_schedule), "linear"),
        steps=steps,
        beta_start=float(config.beta_start),
        beta_end=float(config.beta_end),
        prediction=PREDICTIONS[predicted],
    )
    ours, theirs = levels(schedule)[0].square(), scheduler.alphas_cumprod.double()
    if ours.shape != theirs.shape or not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-6):
        raise BundleError(
            f"The prior {name} adds noise by a table of its own ({config.beta_schedule} with changes), which "
            f"is not known here: known are {', '.join(BETAS)} and flows, as they are."
        )
    return schedule


def _made(kind: str, settings: Mapping[str, Any], name: str) -> Any:
    with quiet("diffusers"):
        import diffusers

        try:
            return getattr(diffusers, kind).from_config(dict(settings))
        except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError, ImportError) as problem:
            why = (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".:")
            raise BundleError(f"The prior {name} has a scheduler that cannot be read: {why}.") from None
