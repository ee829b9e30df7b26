"""Which weights did best on examples that nothing is learnt from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from redraft.training import processes, sharding

EVERY = 50  # steps between measurements
PATIENCE = 3  # it is given up at so many times the best step, and as many measurements more

Measure = Callable[[nn.Module], float]  # the lower, the better; of a method in eval mode


class Best:
    """The weights with the lowest ``measure`` so far; without one there is nothing to look for."""

    def __init__(self, measure: Measure | None, device: torch.device) -> None:
        self.measure, self.device = measure, device
        self.value, self.step, self.last = math.inf, 0, 0.0
        self.weights: dict[str, Tensor] | None = None

    def due(self, step: int) -> bool:
        return self.measure is not None and step % EVERY == 0

    def look(self, method: nn.Module, step: int) -> None:
        """Measure the method as it is, alike in all processes; keep its weights where they are the best."""
        if self.measure is None:
            return
        with torch.no_grad():
            (self.last,) = processes.largest([self.measure(method)], self.device)
        if self.last < self.value:
            state = sharding.whole(method.state_dict())
            self.value, self.step = self.last, step
            self.weights = {k: v.detach().clone() for k, v in state.items()}

    def given_up(self, step: int) -> bool:
        """Whether nothing has become better for long."""
        return self.measure is not None and step >= PATIENCE * (self.step + EVERY)

    def settle(self, method: nn.Module, step: int) -> str | None:
        """Give the method its best weights; what is to be told where they are not the last."""
        self.look(method, step)
        if self.weights is None or self.step == step:
            return None
        for net in method.networks.values():  # type: ignore[union-attr,operator]
            sharding.let_go(net)
        sharding.fill(method.state_dict(), self.weights)
        ended = f"Training ends at step {step}, as nothing became better. " * self.given_up(step)
        return ended + (
            f"The weights of step {self.step} are kept: pictures held back from training are told best there "
            f"({self.value:.3f}, at step {step} {self.last:.3f})."
        )

    def state(self) -> dict[str, Any]:
        return {"value": self.value, "step": self.step, "weights": self.weights}

    def load(self, state: dict[str, Any]) -> None:
        self.value, self.step, self.weights = state["value"], state["step"], state["weights"]
