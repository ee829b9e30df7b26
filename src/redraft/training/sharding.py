"""FSDP2: each process keeps its share of every weight, gradient, optimizer state and average.

A network is one unit: it is gathered whole for each pass (through ``forward`` or ``encode``) and let go
after. Chains, which take gradients of pictures only, need nothing more. A checkpoint always holds whole
tensors, so that any number of processes can read it.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from redraft.training import processes


def shard(method: nn.Module) -> nn.Module:
    """A copy of ``method`` whose networks are split over all processes."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    warnings.filterwarnings("ignore", "FSDP2-wrapped module")  # about in-place use of outputs: there is none
    method = copy.deepcopy(method)
    device = next(method.parameters()).device
    mesh = init_device_mesh(device.type, (processes.world(),))
    for net in method.networks.values():  # type: ignore[union-attr,operator]
        fully_shard(net, mesh=mesh)
        for entrance in ("encode", "logits", "posterior", "decode", "codes", "inverse", "draft", "hint"):
            if hasattr(net, entrance):
                register_fsdp_forward_method(net, entrance)
    return method


def let_go(net: nn.Module) -> None:
    """Drop what a pass has gathered, so that the next one sees the weights as they are then."""
    if hasattr(net, "reshard"):
        net.reshard()  # type: ignore[operator]


def is_split(t: Any) -> bool:
    return hasattr(t, "full_tensor")


def whole(value: Any) -> Any:
    """Nested dictionaries and lists with whole tensors in place of split ones; all processes call it."""
    if isinstance(value, dict):
        return {k: whole(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(whole, value))
    return value.full_tensor() if is_split(value) else value


def local(t: Tensor) -> Tensor:
    """This process's part of a tensor, as a plain one that shares its memory."""
    return t.to_local() if is_split(t) else t  # type: ignore[attr-defined]


def split_like(value: Tensor, example: Tensor) -> Tensor:
    """``value``, whole, split as ``example`` is (where shapes agree; a step count stays as it is)."""
    if not is_split(example) or value.shape != example.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(example.device), example.device_mesh, example.placements)  # type: ignore[attr-defined]


@torch.no_grad()
def fill(target: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Copy whole ``values`` into the tensors of ``target``, split or not."""
    for key, t in target.items():
        t.copy_(split_like(values[key].to(t.device), t))
