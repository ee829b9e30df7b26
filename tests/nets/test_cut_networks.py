"""CUT's networks: their size, what is compared, and filters against direct loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.blocks import parameters
from redraft.nets.cut import LAYERS, Double, Halve, Heads, Translator

SPEC = Spec(size=16, channels=3, condition="picture", width=3)


def pictures(n: int = 2, channels: int = 3, size: int = 16) -> Tensor:
    return torch.rand(n, channels, size, size, generator=stream(0)) * 2 - 1


def small(**more: object) -> Translator:
    torch.manual_seed(0)
    return Translator(SPEC, 8, 5, **more)


def places(net: Translator, n: int, count: int = 7) -> list[Tensor]:
    return [torch.randint(side**2, (n, count), generator=stream(side)) for side in net.sides]


@pytest.mark.parametrize("antialias", [True, False])
def test_the_published_size(antialias: bool) -> None:
    net = Translator(SPEC, antialias=antialias, heads=0)
    assert parameters(net) == 11_378_179  # 11.378 M, as the authors' code prints


def test_heads_have_the_published_size() -> None:
    net = Translator(SPEC)
    sizes = [3, 128, 256, 256, 256]
    assert parameters(net.heads) == sum((c + 1) * 256 + 257 * 256 for c in sizes)


@pytest.mark.parametrize("size", [16, 20, 36])
@pytest.mark.parametrize("antialias", [True, False])
def test_every_size_and_its_features(size: int, antialias: bool) -> None:
    spec = Spec(size=size, channels=3, condition="picture", width=3)
    net = Translator(spec, 4, antialias=antialias)
    c = pictures(2, 3, size)
    x = net(torch.zeros(2, *net.z_shape), c)
    assert x.shape == c.shape and x.abs().max() <= 1
    assert [f.shape[-1] for f in net.encode(c)] == list(net.sides) and len(net.sides) == 5


@pytest.mark.parametrize("antialias", [True, False])
def test_features_are_what_the_numbered_layers_put_out(antialias: bool) -> None:
    net, c, seen = small(antialias=antialias), pictures(), {}
    wanted = [i for i in LAYERS if antialias or i < 15]  # the last layer of five blocks
    for i in wanted:
        net.model[i].register_forward_hook(lambda _, __, out, i=i: seen.update({i: out}))
    x = net(torch.zeros(2, 0), c)
    hooked = [seen[i] for i in wanted]
    together = net.encode(c, whole=True)
    assert torch.equal(together[-1], x)
    for features in (net.encode(c), together[:-1]):
        assert all(torch.equal(a, b) for a, b in zip(features, hooked, strict=True))


def test_features_alone_stop_at_the_last_that_is_wanted() -> None:
    net = small()
    net.model[17].register_forward_hook(lambda *_: pytest.fail("went on"))
    net.encode(pictures())


def test_heads_against_a_direct_loop() -> None:
    net, c = small(heads=10), pictures()
    at, features = places(net, 2), net.encode(c)
    made = net.encode(c, at)
    assert all(torch.equal(a, b) for a, b in zip(made, net.encode(c, at, whole=True)[:-1], strict=True))
    for mlp, feature, place, out in zip(net.heads.mlps, features, at, made, strict=True):
        assert out.shape == (2, 7, 10)
        for n in range(2):
            for p in range(7):
                y, x = divmod(int(place[n, p]), feature.shape[-1])
                v = mlp[2].weight @ (mlp[0].weight @ feature[n, :, y, x]).relu()  # biases begin at 0
                torch.testing.assert_close(out[n, p], v / v.norm(), rtol=1e-4, atol=1e-5)


def test_both_translator_and_heads_learn_from_patches() -> None:
    net, c = small(heads=10), pictures()
    sum(f.square().sum(2)[0, 0] + f[..., 0].sum() for f in net.encode(c, places(net, 2))).backward()
    assert all(p.grad.abs().sum() > 0 for p in net.heads.parameters() if p.ndim == 2)
    assert net.model[1].weight.grad.abs().sum() > 0 and net.model[-2].weight.grad is None


def test_halving_against_a_loop() -> None:
    x = pictures(1, 2, 8)
    padded = F.pad(x, (1, 1, 1, 1), "reflect")
    weights = torch.tensor([1.0, 2.0, 1.0]) / 4
    expected = torch.zeros(1, 2, 4, 4)
    for i in range(4):
        for j in range(4):
            patch = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            expected[:, :, i, j] = (patch * weights[:, None] * weights).sum((2, 3))
    torch.testing.assert_close(Halve(2)(x), expected)


def test_doubling_is_bilinear() -> None:
    x = pictures(2, 5, 8)
    torch.testing.assert_close(Double(5)(x), F.interpolate(x, scale_factor=2, mode="bilinear"))


def test_filters_are_no_part_of_the_weights() -> None:
    assert set(small(heads=0).state_dict()) == {k for k, _ in small(heads=0).named_parameters()}


def test_sides_of_other_channels_cannot_be_compared() -> None:
    labels = Spec(size=16, channels=3, condition="picture", width=5)
    with pytest.raises(UsageError, match="same number of channels, not 5 and 3"):
        Translator(labels, 8)
    net = Translator(labels, 8, heads=0)
    assert net(torch.zeros(1, 0), pictures(1, 5)).shape == (1, 3, 16, 16)


def test_heads_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="zip"):
        Heads([3, 8])(list(small().encode(pictures())), [])
