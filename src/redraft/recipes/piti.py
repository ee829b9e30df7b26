"""Runs of method piti; what the prior decides is set where it is known (app/prior.py)."""

from __future__ import annotations

from redraft.methods.piti import Piti
from redraft.nets.condition_encoder import PAPER
from redraft.recipes.ends import Ends
from redraft.recipes.networks import Networks
from redraft.recipes.run import Reading, Run
from redraft.tasks import Task
from redraft.training import Train


def modern_piti(task: Task, pictures: int, seed: int, ends: Ends) -> Run:
    """For a small encoder and a few hundred pairs; rates and shares are not tuned yet (docs/log.md).

    What has been learnt before moves more slowly than what is new.
    """
    return Run(
        recipe="modern",
        task=task,
        method=Piti.Config(),
        networks=Networks(initializer="denoiser"),
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
    """The released code's base stage, and the paper's guidance, which that lacks.

    One rate for all stages (there 2·10⁻⁵ in the second) and even t. Pictures are not mirrored.
    """
    return Run(
        recipe="classic",
        task=task,
        method=Piti.Config(moments="analytic", scheduler="ddpm", draft_steps=100, steps=250),
        networks=Networks(initializer="denoiser", encoder=PAPER),
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
