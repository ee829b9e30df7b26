"""The autoencoder's halves: shapes, ranges, and a latent that carries the picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from redraft.core.errors import UsageError
from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.autoencoder import AutoencoderConfig, AutoencoderNet


def autoencoder(size: int = 16, channels: int = 1, **settings: object) -> AutoencoderNet:
    torch.manual_seed(0)
    spec = Spec(size=size, channels=channels, condition="none")
    return AutoencoderNet(spec, AutoencoderConfig(width=8, **settings))


def begun(**settings: object) -> AutoencoderNet:
    net = autoencoder(**settings)
    for p in net.parameters():  # past the start, where both halves add nothing
        torch.nn.init.normal_(p, 0, 0.05)
    net.begin(pictures(40, 1, 16, 16))
    return net


def pictures(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=stream(0)) * 2 - 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 28, 32, 64, 96, 128])
def test_vectors_of_every_size(size: int, channels: int) -> None:
    net, x = autoencoder(size, channels, numbers=10), pictures(2, channels, size, size)
    assert net.latent_shape(size) == net.z_shape == (10, 1, 1)
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
    assert net.latent_shape(size) == net.z_shape == (6, size // factor, size // factor)
    z = net.encode(x)
    assert z.shape == (2, *net.z_shape)
    assert net.decode(z).shape == x.shape
    x = pictures(1, 3, 2 * size, 2 * size)  # there are no places in a map's weights
    z = net.encode(x)
    assert z.shape[1:] == net.latent_shape(2 * size) and net.decode(z).shape == x.shape


@pytest.mark.parametrize("latent", ["vector", "spatial"])
def test_a_picture_does_not_depend_on_its_batch(latent: str) -> None:
    net, x = begun(latent=latent), pictures(4, 1, 16, 16)
    alone = torch.cat([net.decode(net.encode(each)) for each in x.split(1)])
    torch.testing.assert_close(alone, net.decode(net.encode(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("latent", ["vector", "spatial"])
def test_a_slope_reaches_both_halves(latent: str) -> None:
    net, x = begun(latent=latent), pictures(2, 1, 16, 16)
    mean, logvar = net.posterior(x)
    (net.decode(mean + (0.5 * logvar).exp()) - x).abs().mean().backward()
    for half in (net.encoder, net.decoder):
        reached = [p.grad.abs().sum() > 0 for p in half.parameters() if p.grad is not None]
        assert len(reached) == len(list(half.parameters()))
        kernels = [m for m in half.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        for kernel in (kernels[0], kernels[-1]):
            assert kernel.weight.grad is not None and kernel.weight.grad.abs().sum() > 0


def test_a_latent_drawn_lies_among_the_codes() -> None:
    net = begun(latent="spatial", numbers=2)
    torch.nn.init.constant_(net.centre, 0.3)
    torch.nn.init.constant_(net.log_spread, 0.1)
    mean, spread = net.codes()
    z = torch.randn(3, *net.z_shape, generator=stream(1))
    torch.testing.assert_close(net(z), net.decode(mean + spread * z))
    assert mean.shape == spread.shape == (2, 1, 1) and bool((spread > 1).all())


def principal(x: Tensor, numbers: int) -> Tensor:
    """x as its mean and its first principal components, by a singular value decomposition in float64."""
    flat = x.double().flatten(1)
    mean = flat.mean(0)
    directions = torch.linalg.svd(flat - mean, full_matrices=False).Vh[:numbers]
    return ((flat - mean) @ directions.T @ directions + mean).view(x.shape)


@pytest.mark.parametrize("n", [30, 300])  # fewer pictures than their numbers, and more
def test_it_starts_from_the_principal_components(n: int) -> None:
    net, x = autoencoder(numbers=9), pictures(n, 1, 16, 16) * torch.linspace(0.1, 1, 16)
    net.begin(x)
    made = net.decode(net.encode(x))
    torch.testing.assert_close(made.double(), principal(x, 9).clamp(-1, 1), atol=1e-4, rtol=0)
    z = net.encode(x).flatten(1)
    torch.testing.assert_close(z.mean(0), torch.zeros(9), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.T @ z / n, torch.eye(9), atol=1e-3, rtol=0)


def test_a_map_starts_from_the_principal_components_of_patches() -> None:
    net, x = autoencoder(latent="spatial", factor=4, numbers=3), pictures(10, 1, 16, 16)
    net.begin(x)
    patches = x.view(10, 1, 4, 4, 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(160, 1, 4, 4)
    by_hand = principal(patches, 3).view(10, 4, 4, 1, 4, 4).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)
    made = net.decode(net.encode(x))
    torch.testing.assert_close(made.double(), by_hand.clamp(-1, 1), atol=1e-4, rtol=0)


def test_large_pictures_start_from_components_of_reduced_ones() -> None:
    net, x = (
        autoencoder(64, 3, numbers=20),
        pictures(30, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3),
    )
    net.begin(x)
    assert net.principal.basis.shape == (20, 3, 32, 32)
    assert (net.decode(net.encode(x)) - x).abs().mean() < 0.5 * (x - x.mean(0)).abs().mean()


def test_pictures_that_do_not_vary_and_more_numbers_than_pictures() -> None:
    net, x = autoencoder(numbers=12), pictures(4, 1, 16, 16)
    net.begin(x)
    torch.testing.assert_close(net.decode(net.encode(x)), x, atol=1e-4, rtol=0)
    net.begin(x[:1].expand(5, -1, -1, -1))
    torch.testing.assert_close(net.decode(net.encode(x[:1])), x[:1], atol=1e-5, rtol=0)
    assert all(p.isfinite().all() for p in net.state_dict().values())


def test_the_start_is_the_same_each_time() -> None:
    one, other, x = autoencoder(numbers=6), autoencoder(numbers=6), pictures(40, 1, 16, 16)
    before = torch.get_rng_state()
    one.begin(x)
    other.begin(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))


def test_what_is_cut_to_the_range_keeps_its_slope() -> None:
    net = autoencoder(numbers=6)
    net.begin(pictures(40, 1, 16, 16))
    z = (50 * torch.randn(2, *net.z_shape, generator=stream(3))).requires_grad_()
    x = net.decode(z)
    assert x.abs().max() <= 1 and (x.abs() == 1).float().mean() > 0.5
    x.sum().backward()
    slope = net.principal.basis.flatten(1).sum(1) * net.principal.spread
    torch.testing.assert_close(z.grad[0].flatten(), slope, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("first", ["principal components", "nothing"])
def test_it_learns_pictures_by_heart(first: str) -> None:
    net, x = autoencoder(numbers=4), pictures(8, 1, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
    if first != "nothing":
        net.begin(x[:4])
    adam, errors = torch.optim.Adam(net.parameters(), 3e-3), []
    for _ in range(80):
        loss = (net.decode(net.encode(x)) - x).abs().mean()
        errors.append(loss.item())
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert errors[-1] < 0.5 * errors[0]


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
    with pytest.raises(UsageError, match="--size 16"):
        autoencoder(16).latent_shape(32)
