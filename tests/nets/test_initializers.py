"""Initializers of every kind and size: shapes, range, and noise that is not ignored at the start."""

from __future__ import annotations

import pytest
import torch

from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.decoder import Decoder
from redraft.nets.energy import GlobalEnergy, PatchEnergy
from redraft.nets.resnet import ResNet
from redraft.nets.unet import UNet


def condition(spec: Spec, n: int) -> torch.Tensor | None:
    g = stream(0)
    if spec.condition == "none":
        return None
    if spec.condition == "category":
        return torch.arange(n) % spec.width
    return torch.rand(n, spec.width, spec.size, spec.size, generator=g)


@pytest.mark.parametrize("size", [16, 32, 48, 64, 128])
@pytest.mark.parametrize("kind", [UNet, ResNet])
@pytest.mark.parametrize("style", [0, 8])
def test_from_pictures(kind: type[UNet] | type[ResNet], size: int, style: int) -> None:
    spec = Spec(size=size, channels=3, condition="picture", width=5)
    torch.manual_seed(0)
    net, energy = kind(spec, 8, style), PatchEnergy(spec, 8)
    c = condition(spec, 2)
    z = torch.randn(2, *net.z_shape, generator=stream(1))
    x = net(z, c)
    assert x.shape == (2, 3, size, size) and x.abs().max() <= 1
    assert (net(-z, c) - x).abs().mean() > 1e-3
    if style:
        other = z.clone()
        other[:, :style] *= -1
        assert (net(other, c) - x).abs().mean() > 1e-3
    assert energy.given(c)(x).shape == (2,)
    assert not torch.allclose(energy.given(c.roll(1, 0))(x), energy.given(c)(x))


@pytest.mark.parametrize("size", [16, 28, 32, 48, 64, 128])
@pytest.mark.parametrize("kind", ["none", "category"])
def test_from_nothing_or_a_category(kind: str, size: int) -> None:
    spec = Spec(size=size, channels=1, condition=kind, width=3 if kind == "category" else 0)
    torch.manual_seed(0)
    net, energy = Decoder(spec, 8, 16), GlobalEnergy(spec, 8)
    c = condition(spec, 3)
    x = net(torch.randn(3, 16, generator=stream(1)), c)
    assert x.shape == (3, 1, size, size) and x.abs().max() <= 1
    assert energy.given(c)(x).shape == (3,)


def test_an_energy_encodes_its_condition_once_and_scores_each_picture_by_itself() -> None:
    spec = Spec(size=32, channels=3, condition="picture", width=2)
    energy, c = PatchEnergy(spec, 8), condition(spec, 4)
    x = torch.rand(4, 3, 32, 32, generator=stream(2))
    whole = energy(x, energy.encode(c))
    for i in range(4):
        alone = energy.given(c[i : i + 1])(x[i : i + 1])
        torch.testing.assert_close(alone[0], whole[i], rtol=1e-4, atol=1e-6)
