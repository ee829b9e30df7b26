"""Half precision inside the networks alone: chains, losses, energies and weights stay float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# how methods call a network
ENTRANCES = ("forward", "encode", "logits", "posterior", "decode", "inverse", "draft", "hint")


class Half:
    """Runs the networks' ``ENTRANCES`` under autocast; ``undo`` ends that.

    Not around the whole step, since a Langevin chain's own arithmetic (its preconditioner is a
    convolution) would then be rounded too. What a network returns is float32 again.
    """

    def __init__(self, networks: dict[str, nn.Module], dtype: torch.dtype) -> None:
        self.networks = [] if dtype == torch.float32 else list(networks.values())
        for net in self.networks:
            device = next(net.parameters()).device.type
            for name in ENTRANCES:
                if hasattr(net, name):
                    setattr(net, name, _half(getattr(net, name), device, dtype))

    def undo(self) -> None:
        for net in self.networks:
            for name in ENTRANCES:
                net.__dict__.pop(name, None)
        self.networks = []


def _half(function: Callable[..., Any], device: str, dtype: torch.dtype) -> Callable[..., Any]:
    def call(*args: Any, **more: Any) -> Any:
        with torch.autocast(device, dtype=dtype):
            result = function(*args, **more)
        return _single(result)

    return call


def _single(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.float()
    return tuple(map(_single, result)) if isinstance(result, tuple) else result
