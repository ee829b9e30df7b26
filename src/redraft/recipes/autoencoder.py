"""Runs of method autoencoder: an image expert in minutes, and the paper's."""

from __future__ import annotations

from redraft.methods.autoencoder import Autoencoder, Perceptual
from redraft.methods.upsampler import Upsampling
from redraft.nets.autoencoder import AutoencoderConfig
from redraft.recipes.networks import Networks
from redraft.recipes.run import Reading, Run
from redraft.tasks import Task
from redraft.training import Train

BETAS = (0.5, 0.99)


def modern_autoencoder(task: Task, pictures: int, seed: int = 0) -> Run:
    """What was measured to work in minutes on two CPU cores (docs/log.md).

    Up to 32 px a vector, which a flow of fully connected couplings is made for. Of larger pictures 128
    numbers keep less than the nearest training picture does; a map of 16 for every 8 x 8 px keeps most.
    """
    spec = task.spec
    small = spec.size <= 32
    if small:
        latent = AutoencoderConfig(latent="vector", numbers=64 if spec.channels == 1 else 128, width=16)
    else:
        latent = AutoencoderConfig(latent="spatial", numbers=16, factor=8, width=16)
    return Run(
        recipe="modern",
        task=task,
        method=Autoencoder.Config(),
        networks=Networks(solver="patchgan", solver_width=16, initializer="autoencoder", autoencoder=latent),
        reading=Reading(margin=0, flip=False),
        train=Train(
            batch=min(16 if small else 8, pictures),
            lr={"solver": 1e-3, "initializer": 2e-3},
            betas={"solver": BETAS, "initializer": BETAS},
            ema={"solver": 0.0, "initializer": 0.99},
        ),
        seed=seed,
    )


def classic_autoencoder(task: Task, pictures: int, seed: int = 0) -> Run:
    """The paper's loss and optimizer (its 32 px autoencoder's rate and batch), on the house's network.

    The contest begins after a share of the training, there after 10⁴ to 2.5·10⁵ steps; the perceptual
    distance is that of the package's own network, there LPIPS of VGG.
    """
    return Run(
        recipe="classic",
        task=task,
        method=Autoencoder.Config(
            learned_scale=True, kl=1e-6, perceptual=1.0, adversarial=0.5, adaptive=True
        ),
        networks=Networks(
            solver="patchgan",
            solver_width=64,
            initializer="autoencoder",
            autoencoder=AutoencoderConfig(numbers=128, width=64),
        ),
        reading=Reading(),
        train=Train(
            batch=min(12, pictures),
            lr={"solver": 5.4e-5, "initializer": 5.4e-5},
            betas={"solver": (0.5, 0.9), "initializer": (0.5, 0.9)},
            ema={"solver": 0.0, "initializer": 0.0},
            warmup=0,
            decay=1.0,
        ),
        seed=seed,
    )


def perceptual(cfg: Autoencoder.Config | Upsampling) -> Perceptual | None:
    """The distance that ``cfg.perceptual`` weighs: in the maps of the package's own small network."""
    if not cfg.perceptual:
        return None
    from redraft.evaluation.perceptual import SmallDistance

    return SmallDistance()
