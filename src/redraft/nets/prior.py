"""Diffusion models that others have trained: the network in a folder, its weights, what stands beside it.

Read are folders as diffusers writes them: a pipeline (model_index.json; in it unet/ or transformer/,
scheduler/, vae/), or one of its networks with the scheduler's settings in the same folder. What such
settings mean is recipes/prior.py.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from redraft.core.errors import BundleError, UsageError
from redraft.nets.denoiser import GET, KINDS
from redraft.nets.experts.expert import fingerprint
from redraft.nets.experts.hugging import (
    CONFIG,
    config_of,
    folder_of,
    of_diffusers,
    refuse_pickles,
)

NEAREST = "a model of redraft train DATA --method diffusion"  # what needs no network
INDEX, SCHEDULER = "model_index.json", "scheduler_config.json"
NETWORKS = ("unet", "transformer")  # a pipeline's folders
WEIGHTS = "diffusion_pytorch_model"
# of a pipeline in the hub: neither its text encoder nor its weights as other programs want them
FILES = ("*.json", *(f"{part}{WEIGHTS}*.safetensors" for part in ("", "unet/", "transformer/", "vae/")))


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a folder holds, as it says itself."""

    kind: str  # the network's class in diffusers
    config: str  # its settings as JSON
    scheduler: Mapping[str, Any]  # the scheduler's settings; "_class_name" among them
    vae: Path | None  # the folder of the autoencoder that it works in the latent space of
    channels: int  # of what it makes: a picture's, or a latent's
    size: int  # side that it was trained at; 0: not told
    multiple: int  # of this its sides must be
    fingerprint: str  # SHA-256 over kind, settings and weights


def read(name: str) -> tuple[Read, dict[str, Tensor]]:
    """The denoiser of a folder, or of what the hub calls so, and its weights, named as diffusers names them.

    UsageError where it cannot be had, BundleError where it is no diffusion model, or none that is read.
    """
    if Path(name).is_file():
        raise UsageError(
            f"{name} is one file, and a prior is a folder as diffusers writes it: convert it, as in "
            "diffusers.StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER), and name that."
        )
    folder = folder_of(name, NEAREST, FILES)
    place = _network(folder)
    config = config_of(place)
    kind = str(config.get("_class_name") or "")
    if kind not in KINDS:
        raise BundleError(
            f"{place / CONFIG} tells of {kind or 'no class of diffusers'}; a prior is one of its "
            f"{', '.join(KINDS)}, in a folder with its scheduler, or a run of --method diffusion."
        )
    refuse_pickles(place)
    if not importlib.util.find_spec("diffusers"):
        raise UsageError(f"The prior {name} is read by diffusers, which is missing: {GET}.")
    net = _net(place, kind)
    settings = {k: v for k, v in net.config.items() if not k.startswith("_")}
    text = json.dumps(settings, sort_keys=True)
    vae = _autoencoder(place)
    _refuse_channels(place, settings, vae)
    found = Read(
        kind=kind,
        config=text,
        scheduler=_scheduler(place),
        vae=vae,
        channels=int(settings["in_channels"]),
        size=_side(place, settings),
        multiple=_multiple(kind, settings),
        fingerprint=fingerprint(net, f"{kind} {text}"),
    )
    state = net.state_dict()
    if broken := next((k for k, v in state.items() if not v.isfinite().all()), None):
        raise BundleError(f"The prior {name} has weights that are no numbers ({broken}): it cannot be used.")
    return found, state


def _network(folder: Path) -> Path:
    """Where in a folder the denoiser lies."""
    for part in NETWORKS:
        if (folder / part / CONFIG).is_file():
            return folder / part
    if (folder / CONFIG).is_file():
        return folder
    if (folder / INDEX).is_file():
        raise BundleError(
            f"{folder} is a diffusers pipeline without unet/ or transformer/, so it has no denoiser that is "
            f"read here; a prior is one of {', '.join(KINDS)}."
        )
    if any(folder.glob("*.ckpt")):
        refuse_pickles(folder)
    raise BundleError(
        f"{folder} is no diffusion model: there is neither {INDEX} nor {CONFIG} in it, as diffusers' "
        "save_pretrained writes them; a run of --method diffusion is named by its own folder."
    )


def _net(place: Path, kind: str) -> Any:
    half = not (place / f"{WEIGHTS}.safetensors").is_file() and any(
        place.glob(f"{WEIGHTS}.fp16*.safetensors")
    )
    return of_diffusers(place, kind, low_cpu_mem_usage=False, variant="fp16" if half else None)


def _autoencoder(place: Path) -> Path | None:
    """vae/ of the pipeline that a network is of; BundleError for autoencoders that are not read."""
    pipeline = next((p for p in (place, place.parent) if (p / INDEX).is_file()), None)
    if pipeline is None:
        return None
    for part in ("vqvae", "movq"):
        if (pipeline / part).is_dir():
            raise BundleError(
                f"{pipeline} works in the latent space of a {part}, which is not read here: a prior works on "
                "pixels, or has an AutoencoderKL or AutoencoderTiny in its vae/."
            )
    return pipeline / "vae" if (pipeline / "vae" / CONFIG).is_file() else None


def _scheduler(place: Path) -> dict[str, Any]:
    """The settings of the scheduler that a denoiser was trained with."""
    for file in (place / SCHEDULER, place / "scheduler" / SCHEDULER, place.parent / "scheduler" / SCHEDULER):
        try:
            settings = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            settings = None
        if not isinstance(settings, dict) or not isinstance(settings.get("_class_name"), str):
            raise BundleError(f"{file} cannot be read as a scheduler's settings: fetch the model again.")
        return settings
    raise BundleError(
        f"{place} does not say how noise was added when it was trained: write the settings of its scheduler "
        f"beside it, as in diffusers.DDPMScheduler(...).save_pretrained({str(place)!r})."
    )


def _refuse_channels(place: Path, settings: Mapping[str, Any], vae: Path | None) -> None:
    """BundleError for a network that takes more than a noisy picture or latent, or makes something else."""
    takes, makes = int(settings["in_channels"]), int(settings.get("out_channels") or settings["in_channels"])
    if makes not in (takes, 2 * takes):  # twice: variances are learned as well, and left out here
        raise BundleError(
            f"{place} takes {takes} channels and makes {makes}: it is for filling in, editing or enlarging "
            "pictures; a prior takes as many as it makes."
        )
    latent = int(config_of(vae).get("latent_channels") or 4) if vae else takes
    if latent != takes:
        raise BundleError(
            f"{place} takes {takes} channels, and the latent of {vae} beside it has {latent}: a prior takes "
            "a noisy latent and nothing else."
        )


def _side(place: Path, settings: Mapping[str, Any]) -> int:
    side = settings.get("sample_size") or 0
    sides = side if isinstance(side, (list, tuple)) else [side]
    if not all(isinstance(s, int) and s >= 0 for s in sides):
        raise BundleError(
            f"{place / CONFIG} tells of no side: sample_size is {side!r}; fetch the model again."
        )
    return max(sides)


def _multiple(kind: str, settings: Mapping[str, Any]) -> int:
    if kind.startswith("PixArt"):
        return int(settings["patch_size"])
    return 2 ** (len(settings["down_block_types"]) - 1)
