"""A Run: everything that decides what is trained, as plain values that a file can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast

import torch

from redraft.core import config
from redraft.core.errors import UsageError, unknown
from redraft.core.types import Spec
from redraft.methods import METHODS
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopnets import CoopNets
from redraft.nets.parts import Energy, Initializer
from redraft.nets.style import Style
from redraft.sampling.pool import Pool
from redraft.tasks import TASKS, Task
from redraft.training import Train

Kind = Literal["modern", "classic"]


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Which networks, and how wide; depth follows the picture's size."""

    solver: Kind = "modern"
    initializer: Literal["modern", "resnet", "classic"] = "modern"  # resnet: from pictures alone
    solver_width: int = 24
    initializer_width: int = 16
    z: int = 64  # numbers of noise, where the initializer starts from nothing or a category
    style: int = 0  # numbers of noise that set colour and light, where it starts from a picture


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How pictures are read."""

    margin: int = 0  # px beyond the size, for random crops
    flip: bool = False  # left and right swapped at random, on both sides of a pair
    stretch: bool = False  # each picture stretched to [-1, 1] by its own extremes; the papers' code


@dataclass(frozen=True, kw_only=True)
class Run:
    """All settings of a run by section, as run.yaml and a bundle hold them."""

    recipe: str
    task: Task
    method: CoopNets.Config | CCoopNets.Config
    networks: Networks
    reading: Reading
    train: Train
    seed: int = 0

    @property
    def method_name(self) -> str:
        return next(name for name, cls in METHODS.items() if cls.Config is type(self.method))

    @property
    def task_name(self) -> str:
        return next(name for name, cls in TASKS.items() if cls is type(self.task))

    def to_dict(self) -> dict[str, Any]:
        values = config.to_dict(self)
        values["method"] = {"name": self.method_name, **values["method"]}
        values["task"] = {"name": self.task_name, **values["task"]}
        return values

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Run:
        sections = dict(values)
        method, task = dict(sections.pop("method")), dict(sections.pop("task"))
        method_name, task_name = method.pop("name"), task.pop("name")
        if method_name not in METHODS:
            raise unknown("method", method_name, METHODS)
        if task_name not in TASKS:
            raise unknown("task", task_name, TASKS)
        known = [f.name for f in fields(Run)]
        for key in sections:
            if key not in known:
                raise unknown("setting", key, known)
        return Run(
            method=config.from_dict(cast(Any, METHODS[method_name].Config), method, "method."),
            task=config.from_dict(TASKS[task_name], task, "task."),
            networks=config.from_dict(Networks, sections["networks"], "networks."),
            reading=config.from_dict(Reading, sections["reading"], "reading."),
            train=config.from_dict(Train, sections["train"], "train."),
            recipe=sections["recipe"],
            seed=sections["seed"],
        )

    def override(self, assignments: Iterable[str]) -> Run:
        """Apply ``section.key=value`` lines, sections being method, task, networks, reading, train."""
        run = self
        sections = [f.name for f in fields(Run) if f.name not in ("recipe", "seed")]
        for line in assignments:
            section, dot, rest = line.partition(".")
            if not dot or section not in sections:
                raise unknown("section of settings", section.partition("=")[0], sections)
            run = replace(run, **{section: config.override(getattr(run, section), [rest], section + ".")})
        return run


def build(run: Run) -> CoopNets | CCoopNets:
    """The method with fresh networks, on the CPU; a pure function of the run."""
    spec = run.task.spec
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        solver, initializer = _solver(run.networks, spec), _initializer(run.networks, spec)
    pool = Pool(spec, 10 * run.train.batch) if run.method.persistent else None
    style = Style(spec.channels, spec.width, run.networks.style) if _has_style(run) else None
    if isinstance(run.method, CoopNets.Config):
        return CoopNets(run.method, solver=solver, initializer=initializer, pool=pool)
    return CCoopNets(
        run.method, solver=solver, initializer=initializer, keep=run.task.keep, style=style, pool=pool
    )


def _has_style(run: Run) -> bool:
    modern = run.networks.initializer != "classic"
    return modern and run.task.spec.condition == "picture" and run.networks.style > 0


def _solver(cfg: Networks, spec: Spec) -> Energy:
    if cfg.solver_width < 4 or cfg.initializer_width < 4 or cfg.z < 1:
        raise UsageError("Networks need widths of at least 4 and a z of at least 1.")
    if cfg.solver == "classic":
        from redraft.nets.classic import classic_solver

        return classic_solver(spec)
    from redraft.nets.energy import GlobalEnergy, PatchEnergy

    kind = PatchEnergy if spec.condition == "picture" else GlobalEnergy
    return kind(spec, cfg.solver_width)


def _initializer(cfg: Networks, spec: Spec) -> Initializer:
    if cfg.initializer == "classic":
        from redraft.nets.classic import classic_initializer

        return classic_initializer(spec)
    if cfg.initializer == "resnet":
        if spec.condition != "picture":
            raise UsageError("networks.initializer=resnet starts from a picture; leave it at modern here.")
        from redraft.nets.resnet import ResNet

        return ResNet(spec, cfg.initializer_width, cfg.style)
    if spec.condition == "picture":
        from redraft.nets.unet import UNet

        return UNet(spec, cfg.initializer_width, cfg.style)
    from redraft.nets.decoder import Decoder

    return Decoder(spec, cfg.initializer_width, cfg.z)
