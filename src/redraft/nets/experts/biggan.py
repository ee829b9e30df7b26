"""``generator:FOLDER``: BigGAN-deep (Brock et al., arXiv:1809.11096) with the user's weights.

The class of the package pytorch-pretrained-biggan, and a folder with its config.json and weights
(model.safetensors, or pytorch_model.bin read as tensors alone). As in Net2Net (arXiv:2005.13580), what is
represented is noise and the class's *embedding* side by side, so that one goes smoothly to another.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redraft.core.errors import BundleError, UsageError
from redraft.nets.experts.expert import Expert, Shape
from redraft.nets.experts.hugging import config_of
from redraft.nets.experts.taef2 import NAME as NEAREST

PACKAGE = "pytorch_pretrained_biggan"
GET = 'pip install "redraft[biggan]"'
LIMIT = 2.5  # noise beyond it is drawn again (Net2Net, app. B)
SPREAD = 0.1  # of the noise on an embedding, in its own standard deviations (Net2Net learns a VAE instead)


class BigGan(Expert):
    """Noise and class embedding [N, z + e, 1, 1] -> pictures of the network's own size."""

    net: Any

    def __init__(self, net: Any, name: str) -> None:
        super().__init__(
            net,
            name=name,
            kind="generator",
            meaning="BigGAN's noise, then the embedding of a class of ImageNet",
            licence="of the weights: as their folder says",
        )

    def shape(self, size: int) -> Shape:
        own = int(self.net.config.output_dim)
        if size != own:
            raise UsageError(f"{self.name} makes pictures of {own} px, not {size}: --size {own}.")
        return (2 * int(self.net.config.z_dim), 1, 1)

    def picture(self, z: Tensor) -> Tensor:
        return self.net.generator(z.flatten(1), 1.0)  # 1: statistics of untruncated noise

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """Noise with |z| < 2.5, and embeddings of random classes, blurred a little to fill the gaps."""
        table = self.net.embeddings.weight.T.cpu()  # [classes, e]
        classes = torch.randint(len(table), (n,), generator=rng)
        blur = SPREAD * table.std() * torch.randn(n, table.shape[1], generator=rng)
        z = within(torch.rand(n, int(self.net.config.z_dim), generator=rng), LIMIT)
        return torch.cat([z, table[classes] + blur], 1)[..., None, None]


def within(u: Tensor, limit: float) -> Tensor:
    """Uniform numbers in [0, 1) -> normal ones with |z| < limit: what drawing again until they are gives."""
    edge = math.erf(limit / math.sqrt(2))
    return math.sqrt(2) * torch.erfinv((2 * u.double() - 1) * edge).float()


def from_folder(what: str) -> BigGan:
    """UsageError where folder or package are missing, BundleError where the folder holds no BigGAN."""
    folder = Path(what)
    if not folder.is_dir():
        raise UsageError(
            f"There is no folder {what}: generators are a model of redraft, or a folder with the weights of "
            f"BigGAN; nearest at hand as a target: {NEAREST}."
        )
    told = config_of(folder)
    if "class_embed_dim" not in told or "layers" not in told:
        raise BundleError(f"{folder} is neither a model of redraft nor a BigGAN, by its config.json.")
    try:
        from pytorch_pretrained_biggan import BigGAN, BigGANConfig
    except ImportError:
        raise UsageError(f"BigGAN's class is in a package that is missing: {GET}.") from None
    with torch.random.fork_rng(devices=[]):
        net = BigGAN(BigGANConfig.from_dict(told))
    try:
        net.load_state_dict(_tensors(folder))
    except RuntimeError:
        raise BundleError(
            f"The weights in {folder} are not those of its config.json: fetch both again."
        ) from None
    return BigGan(net, f"generator:{what}")


def _tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if (folder / "model.safetensors").is_file():
            return load_file(folder / "model.safetensors")
        held = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BundleError(f"{folder} is incomplete: no model.safetensors and no pytorch_model.bin.") from None
    except (SafetensorError, OSError):
        raise
    except Exception:  # whatever PyTorch's readers raise; its own words advise to run what is in the file
        raise BundleError(
            f"{folder}/pytorch_model.bin holds other things than tensors, or is damaged."
        ) from None
    return dict(held)
