"""Energies keep float32's resolution under autocast."""

from __future__ import annotations

import pytest
import torch

from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.classic import classic_solver
from redraft.nets.energy import GlobalEnergy, PatchEnergy
from redraft.nets.parts import Energy


@pytest.mark.parametrize("kind", [GlobalEnergy, PatchEnergy, classic_solver])
def test_half_precision_inside_does_not_round_the_energy(kind: type[Energy]) -> None:
    condition = "picture" if kind is PatchEnergy else "none"
    spec = Spec(size=32, channels=1, condition=condition, width=1 if condition == "picture" else 0)
    torch.manual_seed(0)
    energy = kind(spec) if kind is classic_solver else kind(spec, 8)
    x = torch.rand(64, 1, 32, 32, generator=stream(0))
    c = x.flip(3) if condition == "picture" else None
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        e = energy.given(c)(x)
    assert e.dtype == torch.float32 and len(e.unique()) > 48
