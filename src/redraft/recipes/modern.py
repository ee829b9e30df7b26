"""The default recipe: what was measured to work, in minutes, on two CPU cores (docs/log.md)."""

from __future__ import annotations

from redraft.core.types import Spec
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopnets import CoopNets
from redraft.recipes.run import Networks, Reading, Run
from redraft.sampling.langevin import Langevin
from redraft.tasks import Task
from redraft.training import Train


def modern(task: Task, method: str, pictures: int, seed: int = 0) -> Run:
    """The run for ``pictures`` training pictures."""
    spec = task.spec
    few = pictures < 1000
    chain = Langevin(delta=7.75) if spec.condition == "picture" else Langevin(steps=5)
    settings: CoopNets.Config | CCoopNets.Config
    if method == "coopnets":
        settings = CoopNets.Config(langevin=chain, diff_augment=few)
    else:
        settings = CCoopNets.Config(langevin=chain)
    return Run(
        recipe="modern",
        task=task,
        method=settings,
        networks=_networks(spec),
        reading=Reading(margin=spec.size // 8 if spec.size >= 64 else 0),
        train=Train(
            batch=min(32 if spec.size <= 32 else 8, pictures),
            lr={"solver": 3e-3, "initializer": 2e-3},
            betas={"solver": (0.0, 0.99), "initializer": (0.5, 0.99)},
            ema={"solver": 0.99, "initializer": 0.99},
        ),
        seed=seed,
    )


def _networks(spec: Spec) -> Networks:
    if spec.condition == "picture":
        return Networks(solver_width=32, initializer_width=32, z=16)
    wide = spec.size >= 64
    return Networks(solver_width=32 if wide else 24, initializer_width=16, z=64)
