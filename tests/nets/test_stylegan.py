"""The StyleGAN2-like pair: modulation against weights of each picture's own, pure pictures, reach."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.stylegan import Linear, Styled, StyleDecoder, StyleEnergy, double, rectified


def spec(size: int, kind: str = "category", channels: int = 1) -> Spec:
    return Spec(size=size, channels=channels, condition=kind, width=3 if kind == "category" else 0)  # type: ignore[arg-type]


def pictures(n: int, size: int, channels: int = 1) -> Tensor:
    return torch.rand(n, channels, size, size, generator=stream(0)) * 2 - 1


def decoder(kind: str = "category", size: int = 28) -> StyleDecoder:
    torch.manual_seed(0)
    return StyleDecoder(spec(size, kind), 8, 16)


def noise(net: StyleDecoder, n: int, seed: int = 1) -> Tensor:
    return torch.randn(n, *net.z_shape, generator=stream(seed))


@pytest.mark.parametrize("size", [16, 28, 32, 64, 128])
@pytest.mark.parametrize("kind", ["none", "category"])
def test_sizes_shapes_and_range(size: int, kind: str) -> None:
    torch.manual_seed(0)
    net, energy = StyleDecoder(spec(size, kind, 3), 8, 16), StyleEnergy(spec(size, kind, 3), 8)
    c = torch.tensor([0, 1]) if kind == "category" else None
    x = net(noise(net, 2), c)
    assert x.shape == (2, 3, size, size) and x.abs().max() <= 1 and x.std() > 0.1
    assert energy.given(c)(x).shape == (2,)


@pytest.mark.parametrize("grow", [False, True])
def test_modulation_is_a_convolution_by_each_pictures_own_demodulated_weights(grow: bool) -> None:
    """Eq. 1 and 3 of the paper, literally: w' = s_i w, w'' = w' / sqrt(sum w'^2 + eps), by a loop."""
    torch.manual_seed(0)
    layer, h = Styled(6, 4, grow=grow), torch.randn(3, 6, 8, 8, generator=stream(0))
    s = torch.randn(3, 6, generator=stream(1))
    rows = []
    for picture, scales in zip(h, s, strict=True):
        w = layer.scale * layer.weight * scales[None, :, None, None]
        w = w / (w.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        big = double(picture[None]) if grow else picture[None]
        rows.append(F.conv2d(big, w, padding=1))
    made, expected = layer.convolve(h, s), torch.cat(rows)
    inside = slice(2, -2)  # blurring before or after a convolution differs at the edges only
    torch.testing.assert_close(made[..., inside, inside], expected[..., inside, inside], rtol=1e-4, atol=1e-5)


def test_demodulation_keeps_the_variance_at_1_whatever_the_style() -> None:
    torch.manual_seed(0)
    layer, h = Styled(16, 16), torch.randn(64, 16, 16, 16, generator=stream(0))
    s = torch.randn(64, 16, generator=stream(1)) * torch.logspace(-2, 2, 64)[:, None]
    made = layer.convolve(h, s)[..., 1:-1, 1:-1]
    assert made.square().mean((1, 2, 3)).sub(1).abs().max() < 0.2
    assert made.square().mean().item() == pytest.approx(1, abs=0.03)


def test_the_filter_that_doubles_is_1_3_3_1() -> None:
    impulse = torch.zeros(1, 1, 9, 9)
    impulse[..., 4, 4] = 1
    row = torch.tensor([1.0, 3, 3, 1]) / 4
    torch.testing.assert_close(double(impulse)[0, 0, 7:11, 7:11], row[:, None] * row[None])
    assert double(impulse).sum().item() == pytest.approx(4)


def test_scaled_layers_keep_unit_variance_and_learn_at_their_rate() -> None:
    torch.manual_seed(0)
    layer, h = Linear(256, 256, rate=0.01), torch.randn(64, 256, generator=stream(0))
    before = layer(h)
    assert before.square().mean().item() == pytest.approx(1, rel=0.05)
    assert rectified(before).square().mean().item() == pytest.approx(1.04, rel=0.05)
    plain = Linear(256, 256)
    plain.weight.data = layer.weight.data * 0.01
    moves = []
    for net in (layer, plain):
        first, adam = net(h).detach(), torch.optim.Adam(net.parameters(), 1e-3)
        net(h).sum().backward()
        adam.step()
        moves.append((net(h) - first).norm())
    assert (moves[0] / moves[1]).item() == pytest.approx(0.01, rel=0.05)


def test_a_picture_is_a_pure_function_of_its_z_and_its_category() -> None:
    net, c = decoder(), torch.tensor([0, 1, 2])
    z = noise(net, 3)
    whole = net(z, c)
    torch.testing.assert_close(net(z, c), whole, rtol=0, atol=0)
    torch.testing.assert_close(net(z[1:2], c[1:2])[0], whole[1], rtol=1e-4, atol=1e-5)


def test_each_part_of_z_is_heard() -> None:
    net, c = decoder(), torch.tensor([0, 1, 2])
    z = noise(net, 3)
    starts = [0, *torch.tensor([net.z, *(side**2 for side in net.sides)]).cumsum(0).tolist()]
    assert starts[-1] == net.z_shape[0]
    for a, b in zip(starts, starts[1:], strict=False):
        other = z.clone()
        other[:, a:b] *= -1
        assert (net(other, c) - net(z, c)).abs().mean() > 1e-4, (a, b)


def test_conditions_matter_and_none_are_taken_where_there_are_none() -> None:
    torch.manual_seed(0)
    net, energy, x, c = decoder(), StyleEnergy(spec(28), 8), pictures(3, 28), torch.tensor([0, 1, 2])
    z = noise(net, 3)
    assert (net(z, c) - net(z, c.roll(1))).abs().mean() > 1e-3
    assert (energy.given(c)(x) - energy.given(c.roll(1))(x)).abs().min() > 1e-4
    assert StyleEnergy(spec(28, "none"), 8).encode(c) == ()


def test_an_energy_scores_each_picture_by_itself() -> None:
    torch.manual_seed(0)
    energy, x, c = StyleEnergy(spec(28), 8), pictures(4, 28), torch.tensor([0, 1, 2, 0])
    whole = energy.given(c)(x)
    for i in range(4):
        torch.testing.assert_close(
            energy.given(c[i : i + 1])(x[i : i + 1])[0], whole[i], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("kind", ["none", "category"])
def test_gradients_reach_every_weight(kind: str) -> None:
    net, energy = decoder(kind), StyleEnergy(spec(28, kind), 8)
    c = torch.arange(3) if kind == "category" else None
    energy.given(c)(net(noise(net, 3), c)).square().sum().backward()
    for part in (net, energy):
        missed = [n for n, p in part.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not missed, missed


def test_half_precision_does_not_round_energies_or_leave_the_range() -> None:
    torch.manual_seed(0)
    net, energy = decoder(), StyleEnergy(spec(28), 8)
    x, c = pictures(64, 28), torch.arange(64) % 3
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        e = energy.given(c)(x)
        made = net(noise(net, 3), c[:3])
    assert e.dtype == torch.float32 and len(e.unique()) > 48
    assert made.dtype == torch.float32 and (made - net(noise(net, 3), c[:3])).abs().mean() < 0.05
