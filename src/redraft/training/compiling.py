"""torch.compile of the networks, in place, and back."""

from __future__ import annotations

from torch import nn


class Compiled:
    """Compiles the networks' forward passes; ``undo`` makes them plain modules again."""

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        self.networks = dict(networks)
        for net in self.networks.values():
            net.compile()

    def undo(self) -> None:
        for net in self.networks.values():
            net._compiled_call_impl = None
        self.networks = {}

    def is_to_blame(self, failure: Exception) -> bool:
        """Whether an exception came from the compiler (Dynamo or Inductor) and not from the method."""
        if not self.networks:
            return False
        modules = [kind.__module__ for kind in type(failure).__mro__]
        return any(m.startswith(("torch._dynamo", "torch._inductor")) for m in modules)
