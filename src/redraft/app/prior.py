"""``--prior NAME``: a run of method piti begins with a diffusion model that is there already."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from redraft.app.begun import begun_run
from redraft.app.experts import ours
from redraft.app.model import Model
from redraft.app.show import say
from redraft.core.errors import CheckpointError, UsageError
from redraft.methods.diffusion import Diffusion
from redraft.methods.piti import Piti
from redraft.nets.lora import adapt, merge
from redraft.recipes import Run
from redraft.recipes.prior import Loaded, Prior, enlarging, fit, load, small
from redraft.recipes.run import Built

HOW = (
    "a run trained here (redraft train DATA --method diffusion), a diffusers model's folder, or its name in "
    "the hub"
)
NEEDED = f"Method piti begins with a diffusion model; name one with --prior NAME: {HOW}"


@dataclass(frozen=True, kw_only=True)
class Given:
    """A prior as a run begins with it."""

    loaded: Loaded  # without weights where a checkpoint of the run holds them
    px: int = 0  # side of its pictures, where no other is wanted; 0: any
    place: Path | None = None  # its bundle, which may hold a copy of its latent's expert

    @property
    def prior(self) -> Prior:
        return self.loaded.prior


def given(name: str | None, method: str | None, out: str | None, resume: bool) -> Given | None:
    """What ``--prior`` names, or what the run that is gone on with was begun with; None for neither."""
    before = _begun(Path(out)) if out and resume else None
    if name is None and before is None:
        if method == "piti":
            raise UsageError(f"{NEEDED}.")
        return None
    if method not in (None, "piti"):
        raise UsageError(f"--prior is for --method piti; {method} begins with none: leave it out.")
    if name is None or (before and name == before.prior.name and not Path(name).exists()):
        return before
    named = _open(name)
    if before and named.prior.fingerprint != before.prior.fingerprint:
        raise CheckpointError(
            f"The run in {out} was begun with the prior {before.prior.name}, and {name} has other weights: "
            "name that one, or leave --prior out."
        )
    return before or named


def _begun(out: Path) -> Given | None:
    """The prior of the run in ``out``, whose weights are in its checkpoints."""
    run = begun_run(out)
    if run is None or not run.prior.name:
        return None
    return Given(loaded=Loaded(prior=run.prior, state={}), px=run.task.spec.size)


def _open(name: str) -> Given:
    place = Path(name)
    if place.is_dir() and ours(place):
        return _of_run(name)
    loaded = load(name)
    pictures = not loaded.prior.latent and loaded.prior.channels in (1, 3)  # else no side of theirs is told
    return Given(loaded=loaded, px=loaded.prior.size if pictures else 0)


def _of_run(name: str) -> Given:
    model = Model.from_pretrained(name, "cpu")
    run, method = model.run, model.method
    if not isinstance(method, Diffusion):
        raise UsageError(f"{name} is a model of method {run.method_name}; a prior is {HOW}.")
    net = method.initializer
    prior = Prior(
        name=name,
        fingerprint=model.hash,
        denoiser=run.networks.denoiser,
        schedule=method.cfg.schedule,
        latent=run.target.latent,
        scale=method.cfg.scale,
        channels=net.spec.channels,
        size=net.spec.size,
        multiple=0,
        min_snr=method.cfg.min_snr,
    )
    state = {k: v for k, v in net.net.state_dict().items() if ".processor." not in k}
    scales = {k: v for k, v in model.bridge.scales().items() if not k.startswith("given_")}
    return Given(
        loaded=Loaded(prior=prior, state=state, scales={} if model.bridge.open else scales),
        px=run.task.spec.size,
        place=Path(model.place),
    )


def place(given: Given | None) -> Path | None:
    """Where copies of the prior's experts may lie."""
    return None if given is None else given.place


def with_latent(settings: list[str], given: Given | None) -> list[str]:
    """The ``--set`` lines, and the latent space that the prior works in."""
    if given is None:
        return settings
    for key in (line.partition("=")[0].strip() for line in settings):
        if key.startswith("prior.") and key != "prior.fresh":
            raise UsageError(f"{key} comes with the prior that --prior names: leave it out.")
    if any(line.partition("=")[0].strip() == "target.latent" for line in settings):
        raise UsageError("A prior brings its own latent space, or works on pixels: leave target.latent out.")
    latent = given.prior.latent
    return [*settings, f"target.latent={json.dumps(latent)}"] if latent else settings


def begun_with(run: Run, given: Given | None) -> Run:
    """The run with what its prior decides; UsageError where that makes other pictures than are wanted."""
    if given is None:
        return run
    prior = given.prior
    factor = enlarging(prior, run.task.spec.size)
    fit(prior, small(run.spec, factor), run.task.spec.size, by=factor)
    assert isinstance(run.method, Piti.Config)
    larger = replace(run.method.upsampler, factor=factor)
    method = replace(run.method, schedule=prior.schedule, scale=prior.scale, upsampler=larger)
    if prior.min_snr is not None:
        method = replace(method, min_snr=prior.min_snr)
    if prior.schedule.kind == "flow":
        method = replace(method, scheduler="flow-euler")
    networks = replace(run.networks, denoiser=prior.denoiser)
    return replace(run, prior=prior, method=method, networks=networks)


def fill(method: Built, run: Run, given: Given | None) -> None:
    """Give a fresh method the prior's weights, and the adapters through which a large one learns."""
    if given is None or not isinstance(method, Piti):
        return
    if given.loaded.state:
        where = f"the latent space of {run.target.latent}" if run.target.latent else "pixels"
        fresh = ", with fresh weights" * run.prior.fresh
        by = method.cfg.upsampler.factor
        more = f" Its {method.initializer.z_shape[-1]} px are made {by} times as large by an upsampler."
        say(f"Prior: {given.prior.name}, a {method.initializer.kind} of {where}{fresh}.{more * (by > 1)}")
    if given.loaded.state and not run.prior.fresh:
        method.initializer.fill(given.loaded.state)
    if run.networks.lora:
        adapt(method.initializer.net, run.networks.lora)


def settle(method: Built, run: Run) -> None:
    """After training: adapters become part of the weights."""
    if isinstance(method, Piti) and run.networks.lora:
        merge(method.initializer.net)
