"""Generators that other code has trained: which network a file of weights is for, told from its tensors.

Read are the ``latest_net_G.pth`` of pytorch-CycleGAN-and-pix2pix (Zhu, Isola et al., arXiv:1703.10593,
arXiv:1611.07004) and of CUT (Park et al., arXiv:2007.15651), and ONNX files (nets/onnx.py). What a file
does not tell: dropout is at rest; a network with batch normalisation takes each picture's own statistics,
as the authors' ``test.py`` does without ``--eval`` (norm "instance"; "running" is what ``--eval`` does).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from redraft.core.errors import BundleError
from redraft.core.types import Spec
from redraft.nets.cut import Norm, Translator
from redraft.nets.parts import Initializer
from redraft.nets.pix2pix import PublishedUNet, Running, unet_state, without_statistics

READABLE = (
    "Read are a run or model of redraft, an ONNX file, and latest_net_G.pth of pytorch-CycleGAN-and-pix2pix "
    "or CUT (resnet_*blocks, unet_128, unet_256)"
)
NORMS: dict[str, Norm] = {
    "instance": partial(nn.InstanceNorm2d, affine=True),
    "running": Running,
    "plain": nn.InstanceNorm2d,
    "none": lambda channels: nn.Identity(),
}


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """Where an initializer came from, and which network its weights are for, as plain values."""

    origin: str  # the file or folder, as it was named
    sha256: str  # of the weights' file
    network: Literal["", "resnet", "unet", "onnx"] = ""  # "": one of ours, which networks.initializer names
    given: int = 0  # channels of the condition; 0: the file does not say
    channels: int = 0  # of the picture
    size: int = 0  # px; 0: any that the network can halve
    width: int = 0
    depth: int = 0  # residual blocks, or halvings of a U-Net
    antialias: bool = True  # resnet: halved by filters (CUT) or by strided convolutions
    antialias_up: bool = True
    norm: Literal["instance", "running", "plain", "none"] = "plain"  # see nets/pix2pix.py; none: none
    dropout: bool = False  # resnet: whether its blocks have a layer for it
    bytes: int = 0  # onnx: of the file
    noise: tuple[int, ...] = (0,)  # onnx: shape of z, where it starts from noise
    values: Literal["", "-1..1", "0..1", "0..255"] = ""  # onnx: of its pictures; "": not known yet


def make(foreign: Foreign, spec: Spec) -> Initializer:
    """The network that ``foreign`` describes, z_shape (0,) unless it starts from noise; weights are fresh."""
    if foreign.network == "onnx":
        from redraft.nets.onnx import OnnxInitializer

        return OnnxInitializer(foreign, spec)
    if foreign.network == "unet":
        assert foreign.norm != "none"
        return PublishedUNet(spec, foreign.width, norm=foreign.norm, downs=foreign.depth)
    return Translator(
        spec,
        foreign.width,
        foreign.depth,
        antialias=foreign.antialias,
        antialias_up=foreign.antialias_up,
        heads=0,
        norm=NORMS[foreign.norm],
        bias=foreign.norm == "plain",
        dropout=foreign.dropout,
    )


def read(file: Path) -> tuple[Foreign, dict[str, Tensor]]:
    """What a generator's file is, and its tensors for ``make(foreign, spec)``; BundleError for others."""
    if file.suffix.lower() != ".onnx":
        return read_generator(file)
    from redraft.nets.onnx import read_onnx

    return read_onnx(file, _named(file))


def read_generator(file: Path) -> tuple[Foreign, dict[str, Tensor]]:
    """What a ``latest_net_G.pth`` is, and its tensors under our names; BundleError for any other file.

    The tensors fit ``make(foreign, spec)`` after ``suited_state``. Nothing but tensors is read from the file.
    """
    state = _tensors(file)
    base = _named(file)
    found: Foreign | None = None
    if "model.model.0.weight" in state:
        found, state = _unet(base, state), unet_state(state)
    elif any(".conv_block." in name for name in state) and "model.1.weight" in state:
        found = _resnet(base, state)
        state = {name: t for name, t in state.items() if not name.endswith(".filt")}
    if found is None or not _fits(found, suited_state(state, found)):
        raise BundleError(f"{file} holds {_seen(state)}, which is no generator known here. {READABLE}.")
    return found, state


def suited_state(state: Mapping[str, Tensor], foreign: Foreign) -> dict[str, Tensor]:
    """The tensors that the network takes: statistics of batches go with norm "running" alone."""
    return dict(state) if foreign.norm == "running" else without_statistics(state)


def _named(file: Path) -> Foreign:
    return Foreign(origin=str(file), sha256=hashlib.sha256(file.read_bytes()).hexdigest())


def _unet(base: Foreign, state: Mapping[str, Tensor]) -> Foreign | None:
    first = state["model.model.0.weight"]
    last = state.get("model.model.3.weight")
    depth = sum(t.ndim == 4 for t in state.values()) // 2
    if last is None or first.ndim != 4 or last.ndim != 4 or depth < 5:
        return None
    return replace(
        base,
        network="unet",
        given=first.shape[1],
        channels=last.shape[1],
        width=first.shape[0],
        depth=depth,
        norm="plain" if "model.model.1.model.1.bias" in state else "instance",
    )


def _resnet(base: Foreign, state: Mapping[str, Tensor]) -> Foreign | None:
    blocks = {int(m[1]) for name in state if (m := re.match(r"model\.(\d+)\.conv_block\.", name))}
    first, last = min(blocks, default=0), max(blocks, default=0)
    stem, kernels = state["model.1.weight"], [t for t in state.values() if t.ndim == 4]
    if first not in (10, 12) or stem.ndim != 4:
        return None
    batch = "model.2.weight" in state
    return replace(
        base,
        network="resnet",
        given=stem.shape[1],
        channels=kernels[-1].shape[0],
        width=stem.shape[0],
        depth=len(blocks),
        antialias=first == 12,
        antialias_up=f"model.{last + 1}.filt" in state,
        norm="instance" if batch else "plain" if "model.1.bias" in state else "none",
        dropout=f"model.{first}.conv_block.5.weight" not in state,
    )


def _fits(foreign: Foreign, state: Mapping[str, Tensor]) -> bool:
    """Whether names and shapes are those of the network."""
    if not all(t.numel() for t in state.values()):
        return False
    size = 2**foreign.depth if foreign.network == "unet" else 16
    spec = Spec(size=size, channels=foreign.channels, condition="picture", width=foreign.given)
    with torch.random.fork_rng(devices=[]):
        wanted = make(foreign, spec).state_dict()
    return {k: v.shape for k, v in wanted.items()} == {k: v.shape for k, v in state.items()}


def _tensors(file: Path) -> dict[str, Tensor]:
    """The file's named tensors, without the prefix of DataParallel; BundleError where it holds others."""
    try:
        held: Any = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as problem:  # whatever PyTorch's readers raise
        # its own words advise to read such a file without weights_only, which would run what is in it
        other = type(problem).__name__ == "UnpicklingError"
        why = (
            "it holds other things than tensors, or none" if other else "it is damaged, or none of PyTorch's"
        )
        raise BundleError(f"{file} cannot be read as PyTorch weights: {why}. {READABLE}.") from None
    if not isinstance(held, Mapping) or not held or not all(isinstance(t, Tensor) for t in held.values()):
        names = ", ".join(map(str, list(held)[:5])) if isinstance(held, Mapping) else type(held).__name__
        raise BundleError(f"{file} holds {names or 'nothing'}, not the tensors of a generator. {READABLE}.")
    state = {str(name): t for name, t in held.items()}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): t for name, t in state.items()}
    return {name: t.float() if t.is_floating_point() else t for name, t in state.items()}


def _seen(state: Mapping[str, Tensor]) -> str:
    name, tensor = next(iter(state.items()))
    return f"{len(state)} tensors, the first named {name!r} with shape {list(tensor.shape)}"
