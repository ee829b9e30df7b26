"""``image:FOLDER or OWNER/NAME``: autoencoders of latent diffusion, read by diffusers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from torch import Tensor

from redraft.core.errors import BundleError, UsageError
from redraft.nets.experts.expert import Expert, Shape, multiple_of
from redraft.nets.experts.hugging import (
    config_of,
    folder_of,
    of_diffusers,
    refuse_pickles,
)
from redraft.nets.experts.taef2 import NAME as NEAREST

GET = 'pip install "redraft[diffusion]"'
READ = ("AutoencoderKL", "AutoencoderTiny")


class Latent(Expert):
    """A diffusers autoencoder; representations are scaled and shifted as diffusion models see them.

    Of one that lies in a folder (``folder``) a bundle that is built on it takes a copy.
    """

    net: Any
    folder: Path | None = None

    def __init__(self, net: Any, name: str) -> None:
        super().__init__(
            net.float(),
            name=name,
            kind="autoencoder",
            meaning=f"{type(net).__name__}'s latent of a picture, as a diffusion model sees it",
            licence="its model card's",
        )
        config = net.config
        self.scale = float(config.get("scaling_factor") or 1.0)
        # a tiny autoencoder's shift is of its 8-bit latents, which are not used here
        shift = config.get("shift_factor") if type(net).__name__ == READ[0] else None
        self.shift = float(shift or 0.0)
        tiny = config.get("num_encoder_blocks")
        self.factor = 2 ** (len(tiny or config.get("down_block_types")) - 1)

    def shape(self, size: int) -> Shape:
        side = multiple_of(self.factor, size, self.name)
        return (int(self.net.config.latent_channels), side, side)

    def decides(self) -> str:
        told = {k: v for k, v in self.net.config.items() if not k.startswith("_")}  # not where it lies
        return f"{type(self.net).__name__} {sorted(told.items(), key=str)}"

    def represent(self, given: Tensor) -> Tensor:
        made = self.net.encode(given)
        latent = made.latents if hasattr(made, "latents") else made.latent_dist.mean
        return (latent - self.shift) * self.scale

    def picture(self, z: Tensor) -> Tensor:
        return self.net.decode(z / self.scale + self.shift).sample


def autoencoder(what: str) -> Latent:
    """The autoencoder in a folder, or that the hub names so; BundleError where it is none that is read."""
    folder, name = folder_of(what, NEAREST), f"image:{what}"
    kind = str(config_of(folder).get("_class_name") or "")
    if kind not in READ:
        raise BundleError(
            f"{folder}/config.json tells of {kind or 'no class of diffusers'}; image experts are its "
            f"{' and '.join(READ)}, a file.onnx, and an autoencoder trained here."
        )
    refuse_pickles(folder)
    if not importlib.util.find_spec("diffusers"):
        raise UsageError(f"{name} is read by diffusers, which is missing: {GET}; or use {NEAREST}.")
    made = Latent(of_diffusers(folder, kind), name)
    made.folder = folder if Path(what).is_dir() else None
    return made
