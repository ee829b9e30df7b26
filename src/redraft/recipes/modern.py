"""The default recipe: what was measured to work, in minutes, on two CPU cores (docs/log.md)."""

from __future__ import annotations

from redraft.core.types import Spec
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopnets import CoopNets
from redraft.recipes.run import Networks, Reading, Run
from redraft.sampling.langevin import Langevin
from redraft.tasks import Task
from redraft.tasks.recover import Recover
from redraft.tasks.upscale import Upscale
from redraft.training import Train

MANY = 20_000  # training pictures from which networks are wider


def modern(task: Task, method: str, pictures: int, seed: int = 0) -> Run:
    """The run for ``pictures`` training pictures."""
    spec = task.spec
    from_picture = spec.condition == "picture"
    settings: CoopNets.Config | CCoopNets.Config
    if method == "coopnets":
        settings = CoopNets.Config(langevin=_chain(spec.size))
    elif not from_picture:
        settings = CCoopNets.Config(langevin=_chain(spec.size))
    else:
        settings = CCoopNets.Config(langevin=_patch_chain(spec.size), truth_l1=10.0)
    return Run(
        recipe="modern",
        task=task,
        method=settings,
        networks=_networks(task, pictures),
        reading=Reading(margin=spec.size // 8 if spec.size >= 64 else 0, flip=from_picture),
        train=Train(
            batch=min(8 if from_picture or spec.size > 32 else 32, pictures),
            lr={"solver": 1e-3 if from_picture else 3e-3, "initializer": 2e-3},
            betas={"solver": (0.0, 0.99), "initializer": (0.5, 0.99)},
            ema={"solver": 0.99, "initializer": 0.99},
        ),
        seed=seed,
    )


def _chain(size: int) -> Langevin:
    """δ²/2 = 3 at 28 px; the larger the picture, the less one pixel weighs in the energy."""
    return Langevin(steps=8, delta=2.45 * size / 28)


def _patch_chain(size: int) -> Langevin:
    """δ²/2 = 30 at 64 px: the energy is a mean over patches, so a pixel weighs less in larger pictures."""
    return Langevin(steps=5, delta=7.75 * size / 64, drift_clip=0.1)


def _networks(task: Task, pictures: int) -> Networks:
    """Wider for larger pictures and for many of them; depth follows the size in the networks themselves."""
    spec: Spec = task.spec
    more = 1.5 if pictures >= MANY and spec.size >= 64 else 1.0
    if spec.condition == "picture":
        width = int(32 * more)
        # a small picture, or one with a hole, leaves no colour and light to choose
        told = isinstance(task, (Upscale, Recover))
        return Networks(solver_width=width, initializer_width=width, style=0 if told else 8)
    solver = int(32 * more) if spec.size > 32 else 24
    return Networks(solver_width=solver, initializer_width=int(16 * more), z=64)
