"""A Run: everything that decides what is trained, as plain values that a file can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias, cast

import torch

from redraft.core import config
from redraft.core.errors import UsageError, unknown
from redraft.core.types import Spec
from redraft.methods import METHODS
from redraft.methods.autoencoder import Autoencoder
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopinit import CoopInit
from redraft.methods.coopnets import CoopNets
from redraft.methods.cut import Cut
from redraft.methods.denoising import Denoising
from redraft.methods.diffusion import Diffusion
from redraft.methods.fusion import Fusion
from redraft.methods.gan import Gan
from redraft.methods.method import Keep, keep_nothing
from redraft.methods.piti import Piti
from redraft.methods.pix2pix import Pix2Pix
from redraft.methods.solver import Solver
from redraft.methods.upsampler import Upsampler, Upsampling
from redraft.nets.condition_encoder import ConditionEncoder
from redraft.nets.denoiser import Denoiser
from redraft.nets.flow import Flow
from redraft.nets.style import Style
from redraft.recipes.ends import Condition, Target
from redraft.recipes.networks import (
    Networks,
    make_denoiser,
    make_flow,
    make_initializer,
    make_solver,
    make_upsampler,
)
from redraft.recipes.prior import Prior, fit, small
from redraft.sampling.diffusion import Process
from redraft.sampling.pool import Pool
from redraft.spaces.bridge import represented
from redraft.tasks import TASKS, Task
from redraft.training import Train

Built: TypeAlias = (
    CoopNets | CCoopNets | Gan | Pix2Pix | Cut | CoopInit | Fusion | Diffusion | Piti | Autoencoder | Solver
)
Settings: TypeAlias = (
    CoopNets.Config
    | CCoopNets.Config
    | Gan.Config
    | Pix2Pix.Config
    | Cut.Config
    | Fusion.Config
    | Diffusion.Config
    | Piti.Config
    | Autoencoder.Config
    | Solver.Config
)
ADVERSARIAL = (Gan.Config, Pix2Pix.Config, Cut.Config)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How pictures are read."""

    margin: int = 0  # px beyond the size, for random crops
    flip: bool = False  # left and right swapped at random, on both sides of a pair
    stretch: bool = False  # each picture stretched to [-1, 1] by its own extremes; the papers' code
    share: float = 1.0  # of the training pictures that is learnt from; 2 at least


@dataclass(frozen=True, kw_only=True)
class Run:
    """All settings of a run by section, as run.yaml and a bundle hold them."""

    recipe: str
    task: Task
    method: Settings
    networks: Networks
    reading: Reading
    train: Train
    coopinit: CoopInit.Config = CoopInit.Config()  # for the adversarial methods
    condition: Condition = Condition()
    target: Target = Target()
    prior: Prior = Prior()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.coopinit.share and not isinstance(self.method, ADVERSARIAL):
            raise UsageError(
                f"coopinit.share is for the adversarial methods gan, pix2pix and cut; {self.method_name} is "
                "cooperative from first to last."
            )

    @property
    def method_name(self) -> str:
        return next(name for name, cls in METHODS.items() if cls.Config is type(self.method))

    @property
    def spec(self) -> Spec:
        """What the networks work between: the task's spaces, or what experts make of them."""
        return represented(self.task.spec, self.condition.shape, self.target.made)

    @property
    def solver_steps(self) -> int:
        """K that refinement offers; 0 where the method has no solver."""
        if isinstance(self.method, Denoising):
            return self.method.steps
        chain = getattr(self.method, "langevin", None)
        return 0 if chain is None else int(chain.steps)

    @property
    def label(self) -> str:
        """The method's name, and whether it is initialised cooperatively."""
        return f"coopinit-{self.method_name}" if self.coopinit.share else self.method_name

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
            coopinit=config.from_dict(CoopInit.Config, sections.get("coopinit", {}), "coopinit."),
            condition=config.from_dict(Condition, sections.get("condition", {}), "condition."),
            target=config.from_dict(Target, sections.get("target", {}), "target."),
            prior=config.from_dict(Prior, sections.get("prior", {}), "prior."),
            recipe=sections["recipe"],
            seed=sections["seed"],
        )

    def override(self, assignments: Iterable[str]) -> Run:
        """Apply ``section.key=value`` lines; the sections are Run's fields but recipe and seed."""
        run = self
        sections = [f.name for f in fields(Run) if f.name not in ("recipe", "seed")]
        for line in assignments:
            section, dot, rest = line.partition(".")
            if not dot or section not in sections:
                raise unknown("section of settings", section.partition("=")[0], sections)
            run = replace(run, **{section: config.override(getattr(run, section), [rest], section + ".")})
        if isinstance(run.method, Piti.Config):
            from redraft.recipes.piti import with_rates  # which knows runs

            return with_rates(run)
        return run


def build(run: Run) -> Built:
    """The method with fresh networks, on the CPU; a pure function of the run."""
    if isinstance(run.method, Cut.Config) and run.networks.initializer != "cut":
        raise UsageError("CUT compares patches of its own generator; leave networks.initializer at cut.")
    if run.networks.dropout and run.networks.initializer != "pix2pix":
        raise UsageError("networks.dropout is for networks.initializer=pix2pix, the published U-Net.")
    if getattr(run.method, "loss", "") == "wasserstein" and getattr(run.method, "wrong_conditions", 0.0) > 0:
        raise UsageError(
            "A Wasserstein critic has no bound on what a wrong condition costs and runs away; set "
            "method.wrong_conditions=0 with method.loss=wasserstein."
        )
    spec = run.spec
    cfg = run.method
    if isinstance(cfg, Fusion.Config):
        return Fusion(cfg, initializer=_flow(run), domains=not spec.paired)
    if isinstance(cfg, Diffusion.Config):
        return Diffusion(cfg, initializer=_denoiser(run), process=Process(cfg.schedule))
    # what a condition fixes are pixels: in a latent space they are put back into what is decoded
    keep = keep_nothing if run.condition.expert or run.target.latent else run.task.keep
    if isinstance(cfg, Piti.Config):
        return _piti(run, cfg, keep)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        solver, initializer = make_solver(run.networks, spec), make_initializer(run.networks, spec)
    nets: dict[str, Any] = {"solver": solver, "initializer": initializer}
    if isinstance(cfg, CoopNets.Config):
        return CoopNets(cfg, **nets, pool=_pool(run, cfg))
    if isinstance(cfg, CCoopNets.Config):
        return CCoopNets(cfg, **nets, keep=keep, style=_style(run), pool=_pool(run, cfg))
    if isinstance(cfg, Solver.Config):
        return Solver(cfg, **nets, keep=keep)
    if isinstance(cfg, Autoencoder.Config):
        from redraft.recipes.autoencoder import perceptual  # which knows runs

        with torch.random.fork_rng(devices=[]):  # weights are drawn before they are read
            return Autoencoder(cfg, **nets, perceptual=perceptual(cfg))
    adversarial: Any
    if isinstance(cfg, Gan.Config):
        adversarial = Gan(cfg, **nets)
    elif isinstance(cfg, Pix2Pix.Config):
        adversarial = Pix2Pix(cfg, **nets, keep=keep, style=_style(run))
    else:
        adversarial = Cut(cfg, **nets)
    return CoopInit(run.coopinit, adversarial) if run.coopinit.share else adversarial


def _flow(run: Run) -> Flow:
    """The flow of a fusion; where sides are no pairs, its condition is which of the two a picture is of."""
    spec = run.spec
    if run.networks.initializer != "flow":
        raise UsageError("A fusion is a flow; leave networks.initializer at flow.")
    if not spec.paired:
        spec = replace(spec, condition="category", width=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return make_flow(run.networks, spec)


def _denoiser(run: Run) -> Denoiser:
    if run.networks.initializer != "denoiser":
        raise UsageError(f"{run.method_name} learns a denoiser; leave networks.initializer at denoiser.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return make_denoiser(run.networks, run.spec)


def _piti(run: Run, cfg: Piti.Config, keep: Keep) -> Piti:
    """A prior's network with fresh weights; app/prior.py fills in its own before training."""
    factor = cfg.upsampler.factor
    if factor > 1 and run.target.latent:
        raise UsageError(
            "method.upsampler is for priors of pixels; a latent space has a decoder that enlarges: leave it "
            "out."
        )
    if run.spec.size % factor:
        raise UsageError(f"method.upsampler.factor={factor} is no divisor of {run.spec.size} px.")
    if run.prior.name:
        _as_learnt("method.schedule", cfg.schedule, run.prior.schedule)
        _as_learnt("method.scale", cfg.scale, run.prior.scale)
        _as_learnt("networks.denoiser", run.networks.denoiser, run.prior.denoiser)
        fit(run.prior, small(run.spec, factor), run.task.spec.size, by=factor)
    if run.prior.fresh:  # nothing has been learnt that would be worth freezing
        cfg = replace(cfg, encoder=0.0, dropped=0.0)
    if run.networks.initializer != "denoiser":
        raise UsageError("PITI's initializer is a denoiser; leave networks.initializer at denoiser.")
    spec, nets = small(run.spec, factor), run.networks
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        kind, config, patch = nets.denoiser.of(spec)
        initializer = Denoiser.of(kind, config, spec, patch=patch, first_t=run.prior.first_t)
        encoder = ConditionEncoder(spec, nets.encoder, tokens=initializer.tokens, canvas=initializer.canvas)
        upsampler = _upsampler(run, cfg.upsampler) if factor > 1 else None
    parts: dict[str, Any] = {"encoder": encoder, "initializer": initializer, "upsampler": upsampler}
    return Piti(cfg, **parts, process=Process(cfg.schedule), keep=keep)


def _upsampler(run: Run, cfg: Upsampling) -> Upsampler:
    from redraft.recipes.autoencoder import perceptual  # which knows runs

    denoiser, encoder = make_upsampler(run.networks, run.spec)
    critic = None
    if cfg.adversarial:  # it sees pictures alone, as published
        seen = replace(run.spec, condition="none", width=0)
        critic = make_solver(replace(run.networks, solver="patchgan"), seen)
    return Upsampler(cfg, encoder=encoder, denoiser=denoiser, critic=critic, perceptual=perceptual(cfg))


def _as_learnt(key: str, mine: object, its: object) -> None:
    if mine != its:
        raise UsageError(f"{key} is as the prior has learnt with it: leave it out.")


def _pool(run: Run, cfg: CoopNets.Config | CCoopNets.Config) -> Pool | None:
    return Pool(run.spec, 10 * run.train.batch) if cfg.persistent else None


def _style(run: Run) -> Style | None:
    spec, cfg = run.spec, run.networks
    if spec.condition != "picture" or not cfg.style or cfg.initializer == "classic":
        return None
    if cfg.initializer not in ("modern", "resnet"):
        raise UsageError(
            f"networks.style needs networks.initializer=modern or resnet, not {cfg.initializer}."
        )
    return Style(spec.channels, spec.width, cfg.style)
