"""Energies keep float32's resolution under autocast."""

from __future__ import annotations

import pytest
import torch

from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.classic import classic_solver
from redraft.nets.condition_encoder import ConditionEncoder, EncoderConfig
from redraft.nets.energy import GlobalEnergy, PatchEnergy
from redraft.nets.parts import Energy
from redraft.training.precision import Half


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


def test_what_draws_a_condition_is_rounded_inside_and_float32_outside() -> None:
    spec = Spec(size=16, channels=3, condition="picture", width=3)
    encoder = ConditionEncoder(spec, EncoderConfig(width=16, layers=1, heads=2), tokens=8)
    c = torch.rand(2, 3, 16, 16, generator=stream(1))
    assert encoder.drawn is not None
    torch.nn.init.normal_(encoder.drawn[-1].weight)
    with torch.no_grad():
        whole = encoder.hint(c)
        half = Half({"encoder": encoder}, torch.bfloat16)
        rounded = encoder.hint(c)
        half.undo()
    assert whole is not None and rounded is not None and rounded.dtype == torch.float32
    assert not torch.equal(rounded, whole)
    torch.testing.assert_close(rounded, whole, rtol=0.1, atol=0.1)
