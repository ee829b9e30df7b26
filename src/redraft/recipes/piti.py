"""Runs of method piti; what the prior decides is set where it is known (app/prior.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from redraft.methods.piti import Piti
from redraft.methods.upsampler import Upsampling
from redraft.nets.condition_encoder import PAPER
from redraft.nets.denoiser import DenoiserConfig
from redraft.recipes.ends import Ends
from redraft.recipes.networks import Networks
from redraft.recipes.run import Reading, Run
from redraft.sampling.diffusion import Schedule
from redraft.tasks import Task
from redraft.training import Train

GUIDED = 1.0  # w of a small model: label maps are met better than at the paper's 0.3, and KID is lower
COARSE = 128  # px from which the upsampler works on patches of 4 x 4, so that a CPU can afford it
AFTER = 0.01  # released code: 100 steps, of how many it does not say; so of 10,000
MADE = ("upsampler_encoder", "upsampler")
RATES: dict[str, dict[str, dict[str, Any]]] = {  # of the networks that an upsampler brings along
    "modern": {
        "lr": {**dict.fromkeys(MADE, 1e-3), "critic": 5e-4},
        "betas": {**dict.fromkeys(MADE, (0.9, 0.99)), "critic": (0.5, 0.99)},
        "ema": {**dict.fromkeys(MADE, 0.99), "critic": 0.0},
        "clip": {**dict.fromkeys(MADE, 1.0), "critic": 0.0},
    },
    "classic": {  # the released code's
        "lr": dict.fromkeys((*MADE, "critic"), 1e-5),
        "betas": dict.fromkeys((*MADE, "critic"), (0.9, 0.999)),
        "ema": {**dict.fromkeys(MADE, 0.9999), "critic": 0.0},
        "clip": {},
    },
}


def modern_piti(task: Task, pictures: int, seed: int, ends: Ends) -> Run:
    """For a small encoder and a few hundred pairs (docs/results/piti.md).

    What has been learnt before moves more slowly than what is new.
    """
    return Run(
        recipe="modern",
        task=task,
        method=Piti.Config(guidance=GUIDED),
        networks=Networks(
            initializer="denoiser", upsampler=DenoiserConfig(patch=4 if task.spec.size >= COARSE else 2)
        ),
        reading=Reading(flip=not ends.target.draws),
        train=Train(
            batch=min(16, pictures),
            lr={"encoder": 1e-3, "initializer": 3e-4},
            betas={"encoder": (0.9, 0.99), "initializer": (0.9, 0.99)},
            ema={"encoder": 0.99, "initializer": 0.99},
            clip={"encoder": 1.0, "initializer": 1.0},
        ),
        condition=ends.condition,
        target=ends.target,
        seed=seed,
    )


def classic_piti(task: Task, pictures: int, seed: int, ends: Ends) -> Run:
    """The released code, and the paper's guidance, which that lacks.

    One rate for stages 1 to 3 (there 2·10⁻⁵ in the second) and even t. Pictures are not mirrored. The
    upsampler is the house's network, smaller than the paper's and not pretrained; its perceptual distance is
    the package's own, weighed as in ``modern``; its batches are the base's (there 4). Its two losses begin
    with a share of the stage (``AFTER``), an enlargement takes 27 even steps (there 10, 10, 3, 2 and 2 in
    fifths of the schedule), from x_T as it is drawn (there x 0.997).
    """
    larger = Upsampling(
        schedule=Schedule(kind="linear", prediction="epsilon"),
        scheduler="ddpm",
        steps=27,
        loss="wasserstein",
        gradient_penalty=10.0,
        below=1.0,
        after=AFTER,
        plain=False,
    )
    return Run(
        recipe="classic",
        task=task,
        method=Piti.Config(
            moments="analytic", scheduler="ddpm", draft_steps=100, steps=250, upsampler=larger
        ),
        networks=Networks(initializer="denoiser", encoder=PAPER, solver_width=64),
        reading=Reading(),
        train=Train(
            batch=min(128, pictures),
            lr={"encoder": 3.5e-5, "initializer": 3.5e-5},
            betas={"encoder": (0.9, 0.999), "initializer": (0.9, 0.999)},
            ema={"encoder": 0.9999, "initializer": 0.9999},
            warmup=0,
            decay=1.0,
        ),
        condition=ends.condition,
        target=ends.target,
        seed=seed,
    )


def with_rates(run: Run) -> Run:
    """The run with rates for the networks of its upsampler, as far as none are set, and for no others."""
    assert isinstance(run.method, Piti.Config)
    larger = run.method.upsampler
    there = () if larger.factor == 1 else (*MADE, "critic") if larger.adversarial else MADE
    usual = RATES.get(run.recipe, RATES["modern"])
    given = {key: getattr(run.train, key) for key in usual}
    kept = {
        key: {n: v for n, v in values.items() if n in there or v != usual[key].get(n)}
        for key, values in given.items()
    }
    rates: dict[str, Any] = {
        key: {n: v for n, v in usual[key].items() if n in there} | kept[key] for key in usual
    }
    return run if rates == given else replace(run, train=replace(run.train, **rates))
