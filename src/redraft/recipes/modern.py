"""The default recipe: what was measured to work, in minutes, on two CPU cores (docs/log.md)."""

from __future__ import annotations

import math
from dataclasses import replace

from redraft.core.types import Spec
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopinit import CoopInit
from redraft.methods.coopnets import CoopNets
from redraft.methods.cut import Cut
from redraft.methods.diffusion import Diffusion
from redraft.methods.fusion import Fusion
from redraft.methods.gan import Gan
from redraft.methods.pix2pix import Pix2Pix
from redraft.methods.solver import Solver
from redraft.nets.denoiser import DenoiserConfig
from redraft.nets.flow import FlowConfig
from redraft.recipes.autoencoder import modern_autoencoder
from redraft.recipes.ends import NO_EXPERTS, Ends, Target
from redraft.recipes.matrix import adversarial_for
from redraft.recipes.networks import Networks
from redraft.recipes.piti import modern_piti
from redraft.recipes.run import Reading, Run, Settings
from redraft.sampling.diffusion import Schedule
from redraft.sampling.langevin import Langevin
from redraft.spaces.bridge import REACH, represented
from redraft.tasks import Task
from redraft.tasks.recover import Recover
from redraft.tasks.upscale import Upscale
from redraft.training import Train

MANY = 20_000  # training pictures from which networks are wider
FEW = 1_000  # below which a GAN's discriminator sees augmented pictures alone
COMPONENTS = 128  # of a latent that a fusion makes; d of the paper's autoencoders
GUIDED = 1.0  # w of a diffusion by category: the category is then told as of real pictures (docs/methods)
INITIAL = 0.02  # share of the training that coopinit's cooperative stage takes


def modern(task: Task, method: str, pictures: int, seed: int = 0, ends: Ends = NO_EXPERTS) -> Run:
    """The run for ``pictures`` training pictures; ``ends`` are the experts between which networks work."""
    if method == "coopinit":
        return initialised(modern(task, adversarial_for(task), pictures, seed, ends))
    if method == "autoencoder":
        return modern_autoencoder(task, pictures, seed)
    if method == "piti":
        return modern_piti(task, pictures, seed, ends)
    if method == "fusion":
        ends = replace(ends, target=_components(task.spec, ends, pictures))
    spec = represented(task.spec, ends.condition.shape, ends.target.made)
    pixels = ends == NO_EXPERTS  # what experts make is kept, and they see pictures whole
    return Run(
        recipe="modern",
        task=task,
        method=_settings(method, spec, pictures, latent=bool(ends.target.made)),
        networks=_networks(task, spec, method, pictures),
        reading=Reading(
            margin=spec.size // 8 if spec.size >= 64 and pixels else 0,
            flip=task.spec.condition == "picture" and not ends.target.draws,
        ),
        train=_train(method, spec, pictures),
        condition=ends.condition,
        target=ends.target,
        seed=seed,
    )


def initialised(run: Run) -> Run:
    """An adversarial run that begins with coopinit's cooperative stage."""
    return replace(run, coopinit=CoopInit.Config(share=INITIAL))


def _settings(method: str, spec: Spec, pictures: int, *, latent: bool = False) -> Settings:
    if method == "coopnets":
        return CoopNets.Config(langevin=_chain(spec.size))
    if method == "gan":
        wrong = 0.5 if spec.condition == "category" else 0.0
        return Gan.Config(wrong_conditions=wrong, diff_augment=pictures < FEW)
    if method == "pix2pix":
        return Pix2Pix.Config()
    if method == "cut":
        return Cut.Config(patches=64)
    if method == "fusion":
        if spec.size > 1 or pictures >= MANY:
            return Fusion.Config()
        told = spec.condition == "vector"  # a caption says it in one of many ways, a drawing does not
        return Fusion.Config(data_noise=0.03, condition_noise=0.5 if told else 0.0)
    if method == "diffusion":
        guidance = GUIDED if spec.condition == "category" else 0.0
        if latent:
            return Diffusion.Config(scale=REACH, guidance=guidance)
        return Diffusion.Config(schedule=Schedule(prediction="sample"), guidance=guidance)
    if method == "solver":
        seen = spec.condition == "picture" and spec.paired  # beside the picture, so the energy is of patches
        return Solver.Config(langevin=_patch_chain(spec.size) if seen else _chain(spec.size))
    if spec.condition != "picture":
        return CCoopNets.Config(langevin=_chain(spec.size))
    return CCoopNets.Config(langevin=_patch_chain(spec.size), truth_l1=10.0)


def _train(method: str, spec: Spec, pictures: int) -> Train:
    from_picture = spec.condition == "picture"
    batch, solver, initializer = 8 if from_picture or spec.size > 32 else 32, 3e-3, 2e-3
    if from_picture or spec.channels > 3:  # at 3e-3 an energy of latents ran away in 26 steps
        solver = 1e-3
    if method == "gan":  # in colour the discriminator stays at a loss unless it is much the faster one
        solver, initializer = (1e-3, 2e-3) if spec.channels == 1 else (3e-3, 5e-4)
    if method == "cut":
        batch, solver, initializer = 2, 1e-3, 1e-3
    if method == "solver":
        initializer = 1e-5  # where it is taught; it has learnt before, and at 2e-4 it runs away
    if method == "fusion":
        return Train(
            batch=min(16 if spec.size > 1 else 64, pictures),
            lr={"initializer": 1e-3},
            betas={"initializer": (0.5, 0.9)},  # the paper's
            ema={"initializer": 0.99},
        )
    if method == "diffusion":
        return Train(
            batch=min(32, pictures),
            lr={"initializer": 1e-3},
            betas={"initializer": (0.9, 0.99)},
            ema={"initializer": 0.995},
            clip={"initializer": 1.0},
        )
    beta = 0.5 if method in ("pix2pix", "cut") else 0.0
    return Train(
        batch=min(batch, pictures),
        lr={"solver": solver, "initializer": initializer},
        betas={"solver": (beta, 0.99), "initializer": (0.0 if method == "gan" else 0.5, 0.99)},
        ema={"solver": 0.99, "initializer": 0.99},
    )


def _chain(size: int) -> Langevin:
    """δ²/2 = 3 at 28 px; the larger the picture, the less one pixel weighs in the energy."""
    return Langevin(steps=8, delta=2.45 * size / 28)


def _patch_chain(size: int) -> Langevin:
    """δ²/2 = 30 at 64 px: the energy is a mean over patches, so a pixel weighs less in larger pictures."""
    return Langevin(steps=5, delta=7.75 * size / 64, drift_clip=0.1)


def _components(spec: Spec, ends: Ends, pictures: int) -> Target:
    """What a fusion makes of what says nothing of places: principal components, where latents are maps.

    Each of them is of the whole picture, as the paper's vectors are; from some 1,000 pictures a flow of maps
    learns colours, but no things.
    """
    target, says = ends.target, represented(spec, ends.condition.shape, ends.target.shape).condition
    if target.components is not None or target.draws or target.shape[1:] in ((), (1, 1)) or says == "picture":
        return target
    return replace(target, components=max(2, min(COMPONENTS, math.prod(target.shape), pictures // 2)))


def _flow(spec: Spec, pictures: int) -> FlowConfig:
    """On a map each unit costs a product a place, and few pictures are soon learnt by heart.

    Of vectors pictures become better all the same, but a likelihood explodes: gentler scales, and noise on
    what is given and wanted (``_settings``), keep it.
    """
    if pictures >= MANY:
        return FlowConfig()
    return FlowConfig(blocks=8, width=96) if spec.size > 1 else FlowConfig(width=128, clamp=0.5)


def _networks(task: Task, spec: Spec, method: str, pictures: int) -> Networks:
    """Wider for larger pictures and for many of them; depth follows the size in the networks themselves."""
    more = 1.5 if pictures >= MANY and spec.size >= 64 else 1.0
    if method == "fusion":
        return Networks(initializer="flow", flow=_flow(spec, pictures))
    if method == "diffusion":  # a latent's few places afford a wide network
        denoiser = DenoiserConfig(channels=(96, 160)) if spec.channels > 3 else DenoiserConfig()
        return Networks(initializer="denoiser", denoiser=denoiser)
    if method == "cut":
        return Networks(
            solver="patchgan", initializer="cut", solver_width=32, initializer_width=int(16 * more)
        )
    if spec.condition == "picture":
        width = int(32 * more)
        if method == "pix2pix":  # the cooperative pair's networks, deterministic as published
            return Networks(solver_width=width, initializer_width=width, noise=False)
        # a small picture, or one with a hole, leaves no colour and light to choose
        told = isinstance(task, (Upscale, Recover))
        return Networks(solver_width=width, initializer_width=width, style=0 if told else 8)
    solver = int(32 * more) if spec.size > 32 else 24
    return Networks(solver_width=solver, initializer_width=int(16 * more), z=64)
