"""Vectors as conditions, and an autoencoder's grids as targets: 1 to 32 places a side, many channels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.blocks import Coded
from redraft.nets.conditioning import Embedder
from redraft.nets.decoder import Decoder
from redraft.nets.energy import GlobalEnergy, PatchEnergy
from redraft.nets.parts import Energy, Initializer
from redraft.nets.residual import ResidualDecoder, ResidualEnergy
from redraft.nets.resnet import ResNet
from redraft.nets.stylegan import StyleDecoder, StyleEnergy
from redraft.nets.unet import UNet
from redraft.nets.vectors import VectorDecoder, VectorEnergy

D = 12
ENERGIES = {
    "global": GlobalEnergy,
    "residual": ResidualEnergy,
    "style": StyleEnergy,
    "patches": PatchEnergy,
    "vectors": VectorEnergy,
}
DECODERS = {
    "global": Decoder,
    "residual": ResidualDecoder,
    "style": StyleDecoder,
    "unet": UNet,
    "resnet": ResNet,
    "vectors": VectorDecoder,
}
PICTURED = ("patches", "unet", "resnet")


def spec(name: str, size: int, channels: int, kind: str = "") -> Spec:
    kind = kind or ("picture" if name in PICTURED else "vector")
    return Spec(size=size, channels=channels, condition=kind, width=0 if kind == "none" else D)  # type: ignore[arg-type]


def conditions(s: Spec, n: int) -> Tensor:
    shape = (D, s.size, s.size) if s.condition == "picture" else (D,)
    return torch.randn(n, *shape, generator=stream(5))


def energy(name: str, s: Spec) -> Energy:
    torch.manual_seed(0)
    net = ENERGIES[name](s, 4).eval()
    for module in net.modules():  # scale and shift start at nothing
        if isinstance(module, Coded) and not module.weight.any():
            nn.init.normal_(module.weight, 0, 0.3)
    return net


def decoder(name: str, s: Spec) -> Initializer:
    torch.manual_seed(0)
    net: Initializer = DECODERS[name](s, 4)
    return net.eval()


def cells(names: dict[str, type]) -> list[tuple[str, int, int]]:
    grids = [(4, 32), (8, 32), (16, 32), (32, 32), (8, 3), (32, 4), (28, 1)]
    found = [(n, *grid) for n in names if n != "vectors" for grid in grids]
    return [*found, ("vectors", 1, 8), ("vectors", 1, 96)]


@pytest.mark.parametrize(("name", "size", "channels"), cells(ENERGIES))
def test_energies_hear_their_condition(name: str, size: int, channels: int) -> None:
    """One score each, finite, moved by c alone, and each picture scored by itself."""
    s = spec(name, size, channels)
    net = energy(name, s)
    c = conditions(s, 3).requires_grad_()
    x = torch.rand(3, channels, size, size, generator=stream(1)) * 2 - 1
    e = net.given(c)(x)
    assert e.shape == (3,) and e.isfinite().all() and len(e.unique()) == 3
    (gradient,) = torch.autograd.grad(e.sum(), c)
    assert (gradient.flatten(1).abs().sum(1) > 1e-6).all()
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(net.given(c[order])(x[order]), e[order], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(net.given(c[order])(x), e, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "size", "channels"), cells(DECODERS))
def test_initializers_hear_their_condition_and_their_noise(name: str, size: int, channels: int) -> None:
    s = spec(name, size, channels)
    net = decoder(name, s)
    c = conditions(s, 3).requires_grad_()
    z = torch.randn(3, *net.z_shape, generator=stream(1))
    x = net(z, c)
    assert x.shape == (3, channels, size, size) and x.abs().max() <= 1 and x.std() > 0.005
    assert (net(-z, c) - x).abs().mean() > 1e-4
    (gradient,) = torch.autograd.grad(x.square().sum(), c)
    assert (gradient.flatten(1).abs().sum(1) > 1e-6).all()
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(net(z[order], c[order]), x[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "size"), [("global", 8), ("vectors", 1)])
@pytest.mark.parametrize("kind", ["none", "category", "picture"])
def test_other_conditions_of_latent_grids(name: str, size: int, kind: str) -> None:
    """A picture of one place is as good as a vector; where it has more, the global energy does not see it."""
    s = spec(name, size, 32, kind)
    made, net = decoder(name, s), energy(name, s)
    given = {"none": None, "category": torch.tensor([0, 5, 0]), "picture": conditions(s, 3)}[kind]
    x = made(torch.randn(3, *made.z_shape, generator=stream(1)), given)
    assert x.shape == (3, 32, size, size) and net.given(given)(x).shape == (3,)
    assert bool(net.encode(given)) == (kind == "category" or (kind == "picture" and name == "vectors"))


def test_a_one_hot_vector_can_be_what_a_category_is() -> None:
    """The linear map of a one-hot vector is the row of a table: the same network, when weights are equal."""
    torch.manual_seed(0)
    by_name = GlobalEnergy(Spec(size=28, channels=1, condition="category", width=D), 4)
    by_vector = GlobalEnergy(Spec(size=28, channels=1, condition="vector", width=D), 4)
    state = {k: v.T if k in ("film.weight", "project.weight") else v for k, v in by_name.state_dict().items()}
    assert set(by_vector.state_dict()) - set(state) == {"film.bias", "project.bias"}
    by_vector.load_state_dict(state, strict=False)
    c, x = torch.tensor([0, 3, 11]), torch.rand(3, 1, 28, 28, generator=stream(1))
    one_hot = torch.eye(D)[c]
    torch.testing.assert_close(by_vector.given(one_hot)(x), by_name.given(c)(x))


@pytest.mark.parametrize("name", ["global", "residual", "style"])
def test_a_vector_weighs_at_first_as_much_as_a_category(name: str) -> None:
    """Codes of standardised vectors are as long as those of categories, however many numbers they have."""
    lengths = []
    for kind, c in (("category", torch.arange(D)), ("vector", torch.randn(64, 300, generator=stream(0)))):
        torch.manual_seed(0)
        s = Spec(size=28, channels=1, condition=kind, width=D if kind == "category" else 300)  # type: ignore[arg-type]
        lengths.append(ENERGIES[name](s, 8).eval().encode(c)[-1].norm(dim=1).mean())
    assert 0.3 < lengths[1] / lengths[0] < 3


def test_energies_of_vectors_keep_float32s_resolution_under_autocast() -> None:
    s = spec("vectors", 1, 32)
    net, c = energy("vectors", s), conditions(s, 64)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        e = net.given(c)(torch.rand(64, 32, 1, 1, generator=stream(0)))
    assert e.dtype == torch.float32 and len(e.unique()) > 48


def test_a_networks_steps_learn_what_a_vector_says() -> None:
    """x = the condition's first number everywhere: a few steps find it."""
    s = Spec(size=8, channels=8, condition="vector", width=D)
    net = decoder("global", s).train()
    adam = torch.optim.Adam(net.parameters(), 3e-3)
    first = last = 0.0
    for t in range(80):
        c, z = torch.randn(32, D, generator=stream(1, t)), torch.randn(32, 64, generator=stream(2, t))
        loss = (net(z, c) - 0.3 * c[:, :1, None, None].clamp(-3, 3)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        first, last = (loss.item() if t == 0 else first), loss.item()
    assert last < 0.1 * first and last < 0.02


@pytest.mark.parametrize("side", [1, 2, 5])
def test_a_flow_of_vectors_takes_maps_of_any_side(side: int) -> None:
    body = Embedder(Spec(size=1, channels=D, condition="picture", width=D, side=side), 7, "layer", (1,))
    c = torch.randn(3, D, side, side, generator=stream(6)).requires_grad_()
    (h,) = body(c)
    assert h is not None and h.shape == (3, 7)
    h.square().sum().backward()
    assert c.grad is not None and (c.grad.flatten(2) != 0).any(1).all()  # every place counts
