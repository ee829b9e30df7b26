"""The papers' recipe, divergence and all, so that their numbers can be compared.

CoopNets: the authors' scene and MNIST defaults. CCoopNets: the MNIST revision for categories, the
released picture-to-picture code for the rest, with its L1 term. Values are the released code's, but for:
as many chains as pictures in a batch (CoopNets: 144 for 100); no decay of the learning rate (categories:
x 0.96 per 100 epochs); noise in the chain throughout (categories: the first 100 epochs, none at test); K at
test as in training (CoopNets: 10 for 15); every picture stretched (MNIST as released: 2x - 1); z of
standard deviation 1 in training as at test (pictures: 0.003 in training).

gan: DCGAN's settings (Radford et al. 2016, arXiv:1511.06434) on the same networks. pix2pix and cut: the
authors' settings, with instance in place of batch normalisation, the same at their batch of one; cut's
discriminator is pix2pix' (strided, N(0, 0.02)), where the authors' halves by filters.

diffusion: Ho, Jain, Abbeel's CIFAR-10 settings (arXiv:2006.11239) on diffusers' conditional U-Net of their
widths, which has attention where theirs has, and one level less where a picture cannot be halved so often.

fusion: the released configurations of Net2Net (arXiv:2005.13580), for latents that are vectors. But for:
ActNorm begun from a few hundred examples; couplings that begin at zero; an autoencoder's mean in the place
of a sample; the loss divided by d, which Adam does not notice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from redraft.core.errors import UsageError
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopnets import CoopNets
from redraft.methods.cut import Cut
from redraft.methods.diffusion import Diffusion
from redraft.methods.fusion import Fusion
from redraft.methods.gan import Gan
from redraft.methods.pix2pix import Pix2Pix
from redraft.methods.solver import Solver
from redraft.nets.denoiser import DenoiserConfig
from redraft.nets.flow import FlowConfig
from redraft.recipes.autoencoder import classic_autoencoder
from redraft.recipes.ends import NO_EXPERTS, Ends
from redraft.recipes.matrix import adversarial_for
from redraft.recipes.modern import initialised, modern
from redraft.recipes.networks import Networks
from redraft.recipes.piti import classic_piti
from redraft.recipes.run import Reading, Run
from redraft.sampling.diffusion import Schedule
from redraft.sampling.langevin import Langevin
from redraft.spaces.bridge import represented
from redraft.tasks import Task
from redraft.training import Train


def classic(task: Task, method: str, pictures: int, seed: int = 0, ends: Ends = NO_EXPERTS) -> Run:
    """The run as released; ``pictures`` bounds the batch."""
    if method == "fusion":
        return _fusion(task, pictures, seed, ends)
    if method == "piti":
        return classic_piti(task, pictures, seed, ends)
    if ends != NO_EXPERTS:
        raise UsageError(f"--recipe classic is the paper's, and {method} there works on pixels; use modern.")
    if method == "coopinit":
        return initialised(classic(task, adversarial_for(task), pictures, seed))
    if method == "diffusion":
        return _diffusion(task, pictures, seed)
    if method == "autoencoder":
        return classic_autoencoder(task, pictures, seed)
    if method in ("gan", "pix2pix", "cut"):
        return _adversarial(task, method, pictures, seed)
    kind = "alone" if task.spec.condition == "none" else task.spec.condition
    batch, solver, initializer = {
        "alone": (100, 7e-3, 1e-4),
        "category": (300, 8e-4, 1e-4),
        "picture": (50, 3e-3, 2e-4),
    }[kind]
    settings = _method(kind, min(batch, pictures))
    return Run(
        recipe="classic",
        task=task,
        method=_solver(settings) if method == "solver" else settings,
        networks=Networks(solver="classic", initializer="classic"),
        reading=Reading(
            margin=round(task.spec.size * 26 / 128) if kind == "picture" else 0,  # load 154, crop 128
            flip=kind == "picture",
            stretch=kind == "alone",
        ),
        train=Train(
            batch=min(batch, pictures),
            lr={"solver": solver, "initializer": initializer},
            betas={"solver": (0.5, 0.999), "initializer": (0.5, 0.999)},
            ema={"solver": 0.0, "initializer": 0.0},
            warmup=0,
            decay=1.0,
            energy_limit=None,  # energies of 1e7 are this recipe's normal state
        ),
        seed=seed,
    )


def fast(task: Task, method: str, pictures: int, seed: int = 0, ends: Ends = NO_EXPERTS) -> Run:
    """FastCUT: cut with its lighter loss and mirrored inputs, else as ``modern``."""
    if method == "coopinit" and adversarial_for(task) == "cut":
        return initialised(fast(task, "cut", pictures, seed, ends))
    if method != "cut":
        raise UsageError(f"--recipe fast is FastCUT's, for method cut; {method} has modern and classic.")
    return replace(modern(task, "cut", pictures, seed, ends), recipe="fast", method=Cut.Config.fast())


def _adversarial(task: Task, method: str, pictures: int, seed: int) -> Run:
    settings: Gan.Config | Pix2Pix.Config | Cut.Config
    if method == "gan":
        settings, batch = Gan.Config(r1=0.0), min(128, pictures)
        networks = Networks(solver="classic", initializer="classic")
    else:
        settings, batch = Pix2Pix.Config() if method == "pix2pix" else Cut.Config(), 1
        generator: Literal["pix2pix", "cut"] = "pix2pix" if method == "pix2pix" else "cut"
        networks = Networks(
            solver="patchgan",
            initializer=generator,
            solver_width=64,
            initializer_width=64,
            dropout=method == "pix2pix",
        )
    picture = method != "gan"
    return Run(
        recipe="classic",
        task=task,
        method=settings,
        networks=networks,
        reading=Reading(
            margin=round(task.spec.size * 30 / 256) if picture else 0, flip=picture
        ),  # 286 to 256
        train=Train(
            batch=batch,
            lr={"solver": 2e-4, "initializer": 2e-4},
            betas={"solver": (0.5, 0.999), "initializer": (0.5, 0.999)},
            ema={"solver": 0.0, "initializer": 0.0},
            warmup=0,
            decay=1.0 if method == "gan" else 0.0,  # the second half falls to 0
        ),
        seed=seed,
    )


def _diffusion(task: Task, pictures: int, seed: int) -> Run:
    """Ho et al., Appendix B; drafts and guidance are not theirs."""
    return Run(
        recipe="classic",
        task=task,
        method=Diffusion.Config(
            schedule=Schedule(kind="linear", prediction="epsilon"),
            scheduler="ddpm",
            draft_steps=50,
            steps=1000,
        ),
        networks=Networks(
            initializer="denoiser",
            denoiser=DenoiserConfig(
                patch=1, channels=(128, 256, 256, 256), blocks=2, attention=16, tokens=256
            ),
        ),
        reading=Reading(flip=True),
        train=Train(
            batch=min(128, pictures),
            lr={"initializer": 2e-4},
            betas={"initializer": (0.9, 0.999)},
            ema={"initializer": 0.9999},
            clip={"initializer": 1.0},
            warmup=5000,
            decay=1.0,
        ),
        seed=seed,
    )


def _fusion(task: Task, pictures: int, seed: int, ends: Ends) -> Run:
    """The flow as released: by a category of domains, by pictures' representations, by sentences'."""
    spec = represented(task.spec, ends.condition.shape, ends.target.made)
    if spec.size > 1:
        raise UsageError(
            "--recipe classic is the paper's, whose flow makes vectors, and "
            f"{ends.target.latent or 'the target'} has {spec.channels} x {spec.size} x {spec.size} numbers: "
            "use --recipe modern, --set target.components=128, or an autoencoder with "
            "networks.autoencoder.latent=vector."
        )
    if task.spec.condition == "sentence":
        blocks, embed, batch = 24, max(256, spec.channels), 16
    elif spec.condition in ("vector", "picture") and spec.paired:
        blocks, embed, batch = 20, 128, 6
    else:
        blocks, embed, batch = 20, 10, 15
    batch = min(batch, pictures)
    flow = FlowConfig(
        blocks=blocks, width=1024, depth=2, embed=embed, coupling="tanh", norm="batch", regression=False
    )
    return Run(
        recipe="classic",
        task=task,
        method=Fusion.Config(data_noise=0.0),
        networks=Networks(initializer="flow", flow=flow),
        reading=Reading(),
        train=Train(
            batch=batch,
            lr={"initializer": 4.5e-6 * batch},
            betas={"initializer": (0.5, 0.9)},
            amsgrad=True,
            ema={"initializer": 0.0},
            warmup=0,
            decay=1.0,
        ),
        condition=ends.condition,
        target=ends.target,
        seed=seed,
    )


def _solver(cfg: CoopNets.Config | CCoopNets.Config) -> Solver.Config:
    """The solver's part of a paper's method."""
    return Solver.Config(
        langevin=cfg.langevin, saturate=False, data_noise=0.0, energy_magnitude=0.0, wrong_conditions=0.0
    )


def _method(kind: str, batch: int) -> CoopNets.Config | CCoopNets.Config:
    if kind == "alone":
        return CoopNets.Config(
            langevin=Langevin.classic(15), saturate=False, data_noise=0.0, energy_magnitude=0.0
        )
    if kind == "category":
        chain = Langevin.classic(16, delta=8e-4)  # released: noise in the first 100 epochs only
        l1 = 0.0
    else:
        chain = replace(Langevin.classic(20), noise=0.0)  # drawn but never added in the release
        l1 = 0.2 * batch / 0.8  # 0.2 summed over the batch against 0.8 of a mean over it
    return CCoopNets.Config(
        langevin=chain,
        saturate=False,
        data_noise=0.0,
        energy_magnitude=0.0,
        wrong_conditions=0.0,
        truth_l1=l1,
    )
