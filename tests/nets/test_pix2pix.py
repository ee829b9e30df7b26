"""pix2pix's networks: the published numbers, the published function, and the house's contract."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.types import Spec
from redraft.nets import small_maps
from redraft.nets.blocks import parameters
from redraft.nets.pix2pix import (
    Norm,
    PatchGAN,
    PublishedUNet,
    patchgan_state,
    unet_state,
    without_statistics,
)
from redraft.nets.small_maps import Conv, ConvTranspose


def paired(size: int, channels: int = 3) -> Spec:
    return Spec(size=size, channels=channels, condition="picture", width=3)


def pictures(n: int, size: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# ---- the U-Net


def test_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        assert round(parameters(PublishedUNet(paired(256))) / 1e6, 3) == 54.414
        assert round(parameters(PublishedUNet(paired(128))) / 1e6, 3) == 41.829
        assert round(parameters(PatchGAN(paired(256))) / 1e6, 3) == 2.769


@pytest.mark.parametrize(("size", "depth"), [(16, 4), (28, 2), (48, 4), (64, 6), (80, 4), (96, 5), (256, 8)])
def test_it_halves_down_to_one_pixel_or_an_odd_side(size: int, depth: int) -> None:
    torch.manual_seed(0)
    net = PublishedUNet(paired(size, channels=1), width=2, dropout=True)
    assert len(net.down) == depth
    c = pictures(2, size)
    x = net(torch.randn(2, *net.z_shape), c)
    assert x.shape == (2, 1, size, size) and 0 < x.abs().max() <= 1


@pytest.mark.parametrize("size", [18, 31, 2])
def test_a_size_that_cannot_be_halved_twice_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match="divisible by 4"):
        PublishedUNet(paired(size), width=2)


def test_larger_than_published_keeps_a_larger_innermost_map() -> None:
    with torch.device("meta"):
        net = PublishedUNet(paired(1024), width=2)
        assert len(net.down) == 8 and net(torch.zeros(1, 0), torch.zeros(1, 3, 1024, 1024)).shape[-1] == 1024


def test_without_dropout_it_is_a_function_of_the_condition_in_training_and_after_it() -> None:
    torch.manual_seed(0)
    net, c = PublishedUNet(paired(16), width=4), pictures(3, 16)
    assert net.z_shape == (0,)
    z = torch.zeros(3, 0)
    x = net(z, c)
    assert torch.equal(net.eval()(z, c), x)
    torch.testing.assert_close(net(z[:1], c[1:2]), x[1:2])  # nor does it depend on the rest of the batch


@pytest.mark.parametrize(("size", "noisy"), [(16, [3]), (64, [4]), (128, [4, 5]), (256, [4, 5, 6])])
def test_dropout_sits_where_it_was_published(size: int, noisy: list[int]) -> None:
    with torch.device("meta"):
        net = PublishedUNet(paired(size), width=2, dropout=True)
    assert list(net.noisy) == noisy
    assert net.z_shape == (sum(net.up[i].out_channels * (size >> i) ** 2 for i in noisy),)


def test_which_numbers_are_dropped_is_a_function_of_z() -> None:
    torch.manual_seed(0)
    net, c = PublishedUNet(paired(64), width=4, dropout=True), pictures(2, 64)
    z, other = torch.randn(2, 2, *net.z_shape)
    seen: list[Tensor] = []
    net.up[3].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = net(z, c)
    assert torch.equal(net.eval()(z, c), x) and torch.equal(net(3 * z, c), x)  # z's signs are what counts
    assert not torch.equal(net(other, c), x)
    below = seen[0][:, -32:].flatten(1)  # relu of the noisy layer, after the skip
    assert not below[z <= 0].any() and 0.45 < (z > 0).float().mean() < 0.55
    whole = PublishedUNet(paired(64), width=4)
    whole.load_state_dict(net.state_dict())
    whole.up[3].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    whole(z[:, :0], c)
    torch.testing.assert_close(below[z > 0], 2 * seen[-1][:, -32:].flatten(1)[z > 0])


def test_initial_weights_are_the_published() -> None:
    torch.manual_seed(0)
    for net in (PublishedUNet(paired(32), width=16), PatchGAN(paired(32), width=16)):
        kernels = torch.cat([p.flatten() for p in net.parameters() if p.ndim == 4])
        assert abs(kernels.mean()) < 1e-4 and abs(kernels.std() / 0.02 - 1) < 0.01
        scales = torch.cat([n.weight for n in net.modules() if isinstance(n, nn.GroupNorm)])
        assert abs(scales.mean() - 1) < 0.01 and abs(scales.std() / 0.02 - 1) < 0.3
        assert not any(p.any() for name, p in net.named_parameters() if name.endswith("bias"))


# ---- the release: its port in the benchmark, nested as there, so that its names are its names


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    return importlib.import_module("released")


NORMS = {"instance": nn.BatchNorm2d, "running": nn.BatchNorm2d, "plain": nn.InstanceNorm2d}


def stir(net: nn.Module) -> None:
    """Weights with a gain, statistics and biases of every size: nothing that could hide a mix-up."""
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if tensor.ndim == 1 else tensor.normal_(0, tensor[0].numel() ** -0.5)


@pytest.mark.parametrize("kind", ["instance", "running", "plain"])
def test_a_released_unet_keeps_its_function(kind: Norm, released: ModuleType) -> None:
    """Batch normalisation in training on one picture is "instance", after training it is "running"."""
    torch.manual_seed(1)
    theirs = released.UnetGenerator(3, 3, 6, 4, NORMS[kind]).train(kind != "running").double()
    stir(theirs)
    state = unet_state(theirs.state_dict())
    net = PublishedUNet(paired(64), width=4, norm=kind).double()
    if kind == "instance":
        state = without_statistics(state)
    net.load_state_dict(state)
    c = pictures(1, 64).double()
    torch.testing.assert_close(net(c[:, :0, 0, 0], c), theirs(c))


def test_a_released_unet_of_another_size_has_its_own_depth(released: ModuleType) -> None:
    theirs = released.UnetGenerator(3, 3, 5, 2, nn.InstanceNorm2d)
    net = PublishedUNet(paired(64), width=2, norm="plain", downs=5)
    net.load_state_dict(unet_state(theirs.state_dict()))
    c = pictures(2, 64)
    torch.testing.assert_close(net(c[:, :0, 0, 0], c), theirs(c))
    with pytest.raises(UsageError, match="divisible by 128"):
        PublishedUNet(paired(64), width=2, downs=7)


@pytest.mark.parametrize("kind", ["instance", "running", "plain"])
def test_a_released_patchgan_keeps_its_function(kind: Norm, released: ModuleType) -> None:
    """Which reads condition and picture concatenated: ``encode`` and ``logits`` are equal to that."""
    torch.manual_seed(2)
    theirs = released.NLayerDiscriminator(6, 4, 3, NORMS[kind]).train(kind != "running").double()
    stir(theirs)
    state = patchgan_state(theirs.state_dict(), channels=3)
    net = PatchGAN(paired(64), width=4, norm=kind).double()
    if kind == "instance":
        state = without_statistics(state)
    net.load_state_dict(state)
    c, x = pictures(1, 64, 1).double(), pictures(1, 64, 2).double()
    logits = net.logits(x, net.encode(c))
    torch.testing.assert_close(logits, theirs(torch.cat([c, x], 1)).squeeze(1))
    torch.testing.assert_close(net.given(c)(x), -logits.mean((1, 2)))


# ---- the PatchGAN


def test_a_logit_sees_70_px() -> None:
    """Of two pictures that differ outside a logit's field, it says the same; the field is 70 px wide."""
    torch.manual_seed(3)
    net = PatchGAN(paired(256), width=2, norm="running").double()  # instance statistics see the whole picture
    x, c = pictures(1, 256).double().requires_grad_(), pictures(1, 256, 1).double().requires_grad_()
    logits = net.logits(x, net.encode(c))
    assert logits.shape == (1, 30, 30)
    for given in torch.autograd.grad(logits[0, 15, 15], [x, c]):
        rows = given.abs().sum((0, 1, 3)).nonzero().flatten()
        assert rows[-1] - rows[0] + 1 == len(rows) == 70


@pytest.mark.parametrize(("size", "side"), [(8, 2), (16, 2), (24, 1), (28, 1), (48, 4), (64, 6)])
def test_small_pictures_still_have_logits(size: int, side: int) -> None:
    net = PatchGAN(paired(size), width=2)
    assert net.logits(pictures(2, size), net.encode(pictures(2, size))).shape == (2, side, side)


def test_alone_it_looks_at_the_picture_only() -> None:
    torch.manual_seed(4)
    net, x = PatchGAN(Spec(size=32, channels=3, condition="none"), width=4), pictures(2, 32)
    assert net.encode(pictures(2, 32)) == () == net.encode(None)
    torch.testing.assert_close(net(x, ()), -net.logits(x, ()).mean((1, 2)))


def test_what_a_patchgan_cannot_judge_is_refused() -> None:
    with pytest.raises(UsageError, match="categories"):
        PatchGAN(Spec(size=32, channels=3, condition="category", width=5))
    with pytest.raises(UsageError, match="8 px"):
        PatchGAN(paired(4))


def test_the_condition_counts() -> None:
    torch.manual_seed(5)
    net, x, c = PatchGAN(paired(32), width=4), pictures(1, 32), pictures(1, 32, 1)
    assert (net(x, net.encode(c)) - net(x, net.encode(-c))).abs() > 0
    assert F.mse_loss(net.logits(x, net.encode(c)), net.logits(-x, net.encode(c))) > 0


# ---- small maps


LAYERS = [
    (Conv(64, 96, 4, 2, 1), (2, 4, 4)),
    (Conv(64, 128, 4, 1, 1, bias=False), (1, 6, 5)),
    (Conv(96, 80, 3, 2, (0, 2)), (3, 5, 4)),
    (ConvTranspose(96, 64, 4, 2, 1), (2, 2, 2)),
    (ConvTranspose(128, 64, 4, 2, 1, bias=False), (1, 1, 3)),
    (ConvTranspose(80, 96, 3, (2, 1), (0, 1)), (3, 2, 3)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
def test_a_product_is_the_convolution(
    layer: nn.Module, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients of picture, kernel and bias, without oneDNN's being asked."""
    x = torch.randn(shape[0], layer.in_channels, *shape[1:], generator=torch.Generator().manual_seed(7))
    with monkeypatch.context() as patch:
        patch.setattr(small_maps, "small", lambda places, weight: False)
        expected = results(layer, x)
    kind = type(layer).__base__
    monkeypatch.setattr(kind, "forward", None)  # whoever asks for it fails
    for made, truth in zip(results(layer, x), expected, strict=True):
        torch.testing.assert_close(made, truth, rtol=1e-5, atol=1e-5)


def results(layer: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = layer(x)
    return [y, *torch.autograd.grad(y.square().mean(), [x, *layer.parameters()])]


@pytest.mark.parametrize("layer", [Conv(2, 3, 4, 2, 1), ConvTranspose(2, 3, 4, 2, 1)], ids=["down", "up"])
def test_a_product_has_second_derivatives(layer: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_maps, "small", lambda places, weight: True)
    layer = layer.double()
    x = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(8)).double().requires_grad_()
    assert torch.autograd.gradgradcheck(layer, x)


def test_the_output_size_that_is_asked_for_is_made() -> None:
    layer = ConvTranspose(128, 64, 4, 2, 1)
    assert layer(torch.zeros(1, 128, 2, 2), [5, 5]).shape[-1] == 5
    assert layer(torch.zeros(1, 128, 2, 2)).shape[-1] == 4


@pytest.mark.parametrize(
    ("places", "shape", "product"),
    [
        (64, (512, 512, 4, 4), True),
        (256, (512, 512, 4, 4), True),
        (257, (512, 512, 4, 4), False),  # the fields outweigh the kernel
        (1, (64, 3, 4, 4), False),  # the kernel weighs nothing
    ],
)
def test_products_are_for_kernels_that_are_large_beside_the_map(
    places: int, shape: tuple[int, ...], product: bool
) -> None:
    kernel = torch.empty(shape)
    assert small_maps.small(places, kernel) is product
    assert not small_maps.small(places, kernel.contiguous(memory_format=torch.channels_last))
    assert not small_maps.small(places, torch.empty(shape, device="meta"))  # as on a GPU


def test_the_published_networks_use_products_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 64 px: the three or four innermost layers each way; the discriminator's large maps never."""
    torch.manual_seed(9)
    seen: list[tuple[int, bool]] = []
    rule: Callable[[int, Tensor], bool] = small_maps.small

    def spy(places: int, weight: Tensor) -> bool:
        seen.append((places, rule(places, weight)))
        return seen[-1][1]

    monkeypatch.setattr(small_maps, "small", spy)
    net, c = PublishedUNet(paired(64)), pictures(1, 64)
    with torch.no_grad():
        net(c[:, :0, 0, 0], c)
    assert [places for places, product in seen if product] == [64, 16, 4, 1, 1, 4, 16, 64]


def test_the_penalty_of_a_gradient_can_be_learned_from() -> None:
    """R1 needs the second derivative through every layer, in-place activations included."""
    torch.manual_seed(10)
    net = PatchGAN(paired(24), width=16).double()
    x, c = pictures(2, 24).double(), pictures(2, 24, 1).double()

    def penalty() -> Tensor:
        given = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(net.given(c)(given).sum(), given, create_graph=True)
        return slope.square().sum()

    weight = net.convs[2].weight
    (gradient,) = torch.autograd.grad(penalty(), weight)
    direction = torch.randn_like(weight)
    with torch.no_grad():
        values = []
        for step in (1e-5, -2e-5):
            weight += step * direction
            with torch.enable_grad():
                values.append(penalty().detach())
    torch.testing.assert_close(
        (gradient * direction).sum(), (values[0] - values[1]) / 2e-5, rtol=1e-4, atol=0
    )
