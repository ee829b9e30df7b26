"""What is said of a flow's residuals before a report."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from redraft.app.latent import residuals
from redraft.core.rng import stream
from redraft.core.types import Pair, Spec
from redraft.methods.fusion import Fusion
from redraft.nets.flow import Flow, FlowConfig


def test_of_two_sides_the_residuals_are_asked_for_the_side() -> None:
    torch.manual_seed(0)
    spec = Spec(size=2, channels=3, condition="category", width=2)
    method = Fusion(
        Fusion.Config(), initializer=Flow(spec, FlowConfig(blocks=2, width=8, embed=4)), domains=True
    )
    apart = Pair(*(0.2 * torch.randn(60, 3, 2, 2, generator=stream(i)) + 0.5 * i for i in (-1, 1)))
    method.begin(apart)  # which starts both sides alike
    same: Any = SimpleNamespace(wanted=lambda x: x, given=lambda c: c)
    run = SimpleNamespace(target=SimpleNamespace(draws=0))
    model: Any = SimpleNamespace(method=method.eval(), bridge=same, device=torch.device("cpu"), run=run)
    _, told = residuals(model, apart, None)  # type: ignore[arg-type]
    assert "still tells of the condition" in told
    alike = Pair(apart.target.flip(0), apart.target)
    assert "tells nothing of the condition" in residuals(model, alike, None)[1]  # type: ignore[arg-type]
