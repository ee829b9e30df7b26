"""pix2pix's networks: the published numbers, the published function, and the house's contract."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.types import Spec
from redraft.nets.blocks import parameters
from redraft.nets.pix2pix import PatchGAN, PublishedUNet, patchgan_state, unet_state, without_statistics


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
        scales = torch.cat([n.weight for n in net.modules() if isinstance(n, nn.InstanceNorm2d)])
        assert abs(scales.mean() - 1) < 0.01 and abs(scales.std() / 0.02 - 1) < 0.3
        assert not any(p.any() for name, p in net.named_parameters() if name.endswith("bias"))


# ---- the release, written down once more: nested as there, so that its names are its names


class Level(nn.Module):
    """UnetSkipConnectionBlock: [x, up(inner(down(x)))], the innermost without an inner one."""

    def __init__(self, outer: int, inner: int, given: int, within: Level | None, kind: str) -> None:
        super().__init__()
        bias, norm, first = kind == "plain", published_norm(kind), given == outer == 3
        down = [nn.LeakyReLU(0.2), nn.Conv2d(given, inner, 4, 2, 1, bias=bias), norm(inner)]
        reads = inner if within is None else 2 * inner
        up = [nn.ReLU(), nn.ConvTranspose2d(reads, outer, 4, 2, 1, bias=bias or first), norm(outer)]
        if first:
            down, up = down[1:2], [*up[:2], nn.Tanh()]
        elif within is None:
            down = down[:2]
        self.first = first
        self.model = nn.Sequential(*down, *([] if within is None else [within]), *up)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.first else torch.cat([x, self.model(x)], 1)


class ReleasedUNet(nn.Module):
    def __init__(self, downs: int, width: int, kind: str) -> None:
        super().__init__()
        widths = [min(width * 2**i, width * 8) for i in range(downs)]
        level = None
        for i in reversed(range(1, downs)):
            level = Level(widths[i - 1], widths[i], widths[i - 1], level, kind)
        self.model = Level(3, width, 3, level, kind)

    def forward(self, c: Tensor) -> Tensor:
        return self.model(c)


class ReleasedPatchGAN(nn.Module):
    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        bias, norm, w = kind == "plain", published_norm(kind), width
        layers: list[nn.Module] = [nn.Conv2d(6, w, 4, 2, 1), nn.LeakyReLU(0.2)]
        for a, b, stride in [(w, 2 * w, 2), (2 * w, 4 * w, 2), (4 * w, 8 * w, 1)]:
            layers += [nn.Conv2d(a, b, 4, stride, 1, bias=bias), norm(b), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*layers, nn.Conv2d(8 * w, 1, 4, 1, 1))

    def forward(self, pair: Tensor) -> Tensor:
        return self.model(pair)


def published_norm(kind: str) -> type[nn.Module]:
    return nn.InstanceNorm2d if kind == "plain" else nn.BatchNorm2d


def stir(net: nn.Module) -> None:
    """Weights with a gain, statistics and biases of every size: nothing that could hide a mix-up."""
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if tensor.ndim == 1 else tensor.normal_(0, tensor[0].numel() ** -0.5)


@pytest.mark.parametrize("kind", ["instance", "running", "plain"])
def test_a_released_unet_keeps_its_function(kind: str) -> None:
    """Batch normalisation in training on one picture is "instance", after training it is "running"."""
    torch.manual_seed(1)
    released = ReleasedUNet(6, 4, kind).train(kind != "running").double()
    stir(released)
    state = unet_state(released.state_dict())
    net = PublishedUNet(paired(64), width=4, norm=kind).double()
    if kind == "instance":
        state = without_statistics(state)
    net.load_state_dict(state)
    c = pictures(1, 64).double()
    torch.testing.assert_close(net(c[:, :0, 0, 0], c), released(c).float(), atol=1e-5, rtol=1e-4)


def test_a_released_unet_of_another_size_has_its_own_depth() -> None:
    released = ReleasedUNet(5, 2, "plain")
    net = PublishedUNet(paired(64), width=2, norm="plain", downs=5)
    net.load_state_dict(unet_state(released.state_dict()))
    c = pictures(2, 64)
    torch.testing.assert_close(net(c[:, :0, 0, 0], c), released(c))
    with pytest.raises(UsageError, match="divisible by 128"):
        PublishedUNet(paired(64), width=2, downs=7)


@pytest.mark.parametrize("kind", ["instance", "running", "plain"])
def test_a_released_patchgan_keeps_its_function(kind: str) -> None:
    """Which reads condition and picture concatenated: ``encode`` and ``logits`` are equal to that."""
    torch.manual_seed(2)
    released = ReleasedPatchGAN(4, kind).train(kind != "running").double()
    stir(released)
    state = patchgan_state(released.state_dict(), channels=3)
    net = PatchGAN(paired(64), width=4, norm=kind).double()
    if kind == "instance":
        state = without_statistics(state)
    net.load_state_dict(state)
    c, x = pictures(1, 64, 1).double(), pictures(1, 64, 2).double()
    logits = net.logits(x, net.encode(c))
    torch.testing.assert_close(logits, released(torch.cat([c, x], 1)).squeeze(1))
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
