"""The autoencoder's halves: shapes, ranges, and a latent that carries the picture."""

from __future__ import annotations

import pytest
import torch

from redraft.core.errors import UsageError
from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.autoencoder import AutoencoderConfig, AutoencoderNet


def autoencoder(size: int = 16, channels: int = 1, **settings: object) -> AutoencoderNet:
    torch.manual_seed(0)
    spec = Spec(size=size, channels=channels, condition="none")
    return AutoencoderNet(spec, AutoencoderConfig(width=8, **settings))


def pictures(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=stream(0)) * 2 - 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 28, 32, 64, 96, 128])
def test_vectors_of_every_size(size: int, channels: int) -> None:
    net, x = autoencoder(size, channels, numbers=10), pictures(2, channels, size, size)
    assert net.latent_shape == net.z_shape == (10, 1, 1)
    z = net.encode(x)
    assert z.shape == (2, 10, 1, 1) and torch.equal(z, net.posterior(x)[0])
    assert net.posterior(x)[1].shape == z.shape
    made = net.decode(z)
    assert made.shape == x.shape and made.abs().max() <= 1


@pytest.mark.parametrize(
    ("size", "factor"), [(28, 4), (32, 4), (32, 8), (64, 8), (96, 8), (128, 8), (128, 16), (48, 2)]
)
def test_maps_of_every_size(size: int, factor: int) -> None:
    net = autoencoder(size, 3, latent="spatial", numbers=6, factor=factor)
    x = pictures(2, 3, size, size)
    assert net.latent_shape == net.z_shape == (6, size // factor, size // factor)
    z = net.encode(x)
    assert z.shape == (2, *net.latent_shape)
    assert net.decode(z).shape == x.shape


@pytest.mark.parametrize("latent", ["vector", "spatial"])
def test_a_picture_does_not_depend_on_its_batch(latent: str) -> None:
    net, x = autoencoder(latent=latent), pictures(4, 1, 16, 16)
    alone = torch.cat([net.decode(net.encode(each)) for each in x.split(1)])
    torch.testing.assert_close(alone, net.decode(net.encode(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("latent", ["vector", "spatial"])
def test_a_slope_reaches_both_halves(latent: str) -> None:
    net, x = autoencoder(latent=latent), pictures(2, 1, 16, 16)
    mean, logvar = net.posterior(x)
    (net.decode(mean + (0.5 * logvar).exp()) - x).abs().mean().backward()
    for half in (net.encoder, net.decoder):
        reached = [p.grad.abs().sum() > 0 for p in half.parameters() if p.grad is not None]
        assert len(reached) == len(list(half.parameters()))
        kernels = [m for m in half.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        for kernel in (kernels[0], kernels[-1]):
            assert kernel.weight.grad is not None and kernel.weight.grad.abs().sum() > 0


def test_a_latent_drawn_lies_among_the_codes() -> None:
    net = autoencoder(latent="spatial", numbers=2)
    torch.nn.init.constant_(net.centre, 0.3)
    torch.nn.init.constant_(net.log_spread, 0.1)
    mean, spread = net.codes()
    z = torch.randn(3, *net.z_shape, generator=stream(1))
    torch.testing.assert_close(net(z), net.decode(mean + spread * z))
    assert mean.shape == spread.shape == (2, 1, 1) and bool((spread > 1).all())


def test_it_can_learn_pictures_by_heart() -> None:
    net, x = autoencoder(numbers=8), pictures(4, 1, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
    adam = torch.optim.Adam(net.parameters(), 3e-3)
    first = None
    for _ in range(60):
        loss = (net.decode(net.encode(x)) - x).abs().mean()
        first = loss.item() if first is None else first
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert first is not None and loss.item() < 0.35 * first


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"numbers": 0}, "numbers is at least 1"),
        ({"width": 2}, "width is at least 4"),
        ({"factor": 6}, "power of two"),
        ({"factor": 1}, "power of two"),
    ],
)
def test_settings_that_are_no_autoencoder(settings: dict[str, int], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        AutoencoderConfig(**settings)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match="factor=4"):
        autoencoder(28, latent="spatial", factor=8)
    with pytest.raises(UsageError, match="8 px or more"):
        autoencoder(7)
