"""The papers' recipe, divergence and all, so that their numbers can be compared.

CoopNets: the authors' scene / MNIST defaults. CCoopNets: MNIST revision for categories, the released
picture-to-picture settings with its L1 term for the rest. Sources beside each value: the released code.
"""

from __future__ import annotations

from dataclasses import replace

from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopnets import CoopNets
from redraft.recipes.run import Networks, Reading, Run
from redraft.sampling.langevin import Langevin
from redraft.tasks import Task
from redraft.training import Train

NO_AVERAGE = {"solver": 0.0, "initializer": 0.0}
RELEASED_ADAM = {"solver": (0.5, 0.999), "initializer": (0.5, 0.999)}


def classic(task: Task, method: str, pictures: int, seed: int = 0) -> Run:
    """The run as released; ``pictures`` bounds the batch."""
    spec = task.spec
    if method == "coopnets":
        settings, batch = CoopNets.Config(langevin=Langevin.classic(15), **_PAPER), 100
        lr = {"solver": 7e-3, "initializer": 1e-4}
    elif spec.condition == "category":
        chain = Langevin.classic(16, delta=8e-4)
        settings, batch = CCoopNets.Config(langevin=chain, wrong_conditions=0.0, **_PAPER), 300
        lr = {"solver": 8e-4, "initializer": 1e-4}
    else:
        chain = replace(Langevin.classic(20), noise=0.0)  # drawn but never added in the release
        settings, batch = CCoopNets.Config(langevin=chain, wrong_conditions=0.0, **_PAPER), 50
        lr = {"solver": 3e-3, "initializer": 2e-4}
    return Run(
        recipe="classic",
        task=task,
        method=settings,
        networks=Networks(solver="classic", initializer="classic"),
        reading=Reading(
            margin=spec.size // 5 if spec.condition == "picture" else 0,  # load 154, crop 128
            flip=spec.condition == "picture",
            stretch=method == "coopnets",
        ),
        train=Train(
            batch=min(batch, pictures),
            lr=lr,
            betas=RELEASED_ADAM,
            ema=NO_AVERAGE,
            warmup=0,
            decay=1.0,
        ),
        seed=seed,
    )


_PAPER = {"data_noise": 0.0, "energy_magnitude": 0.0, "sigma": 0.3}
