"""Inference of z, against the posterior of a linear generator, which is Gaussian and known."""

from __future__ import annotations

import torch

from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.sampling.latent import Latent, infer_latent

SIGMA, CHAINS = 0.5, 20_000


def test_posterior_of_a_linear_generator() -> None:
    """x = W z + σ ε: z|x ~ N(S Wᵀx/σ², S), S⁻¹ = I + WᵀW/σ²."""
    rng = stream(0, "linear")
    w = torch.randn(3, 2, generator=rng, dtype=torch.float64) * 0.6
    x = torch.randn(3, generator=rng, dtype=torch.float64)
    precision = torch.eye(2) + w.T @ w / SIGMA**2
    covariance = torch.linalg.inv(precision)
    mean = covariance @ w.T @ x / SIGMA**2

    z = torch.zeros(CHAINS, 2, dtype=torch.float64)
    cfg = Latent(steps=400, delta=0.15)
    z = infer_latent(lambda z: z @ w.T, z, x.expand(CHAINS, -1), cfg, SIGMA, BatchNoise(stream(1)))
    # the step widens the law by 1 / (1 - a δ²/4) at most, a the largest precision
    bias = cfg.delta**2 / 4 * torch.linalg.eigvalsh(precision).max().item()
    assert (z.mean(0) - mean).abs().max() < 0.02
    assert (z.T.cov() - covariance).abs().max() < covariance.max() * (bias + 0.04)


def test_each_picture_has_its_own_likelihood() -> None:
    """Not averaged over the batch, as the releases do: the batch changes nobody's z."""
    w = torch.randn(5, 2, generator=stream(2), dtype=torch.float64)
    x, z = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    cfg = Latent(steps=3)
    whole = infer_latent(lambda z: z @ w.T, z, x, cfg, SIGMA, PictureNoise(3, range(4)))
    alone = infer_latent(lambda z: z @ w.T, z[2:3], x[2:3], cfg, SIGMA, PictureNoise(3, [2]))
    torch.testing.assert_close(whole[2:3], alone)


def test_no_steps_leave_z_as_it_is_and_no_graph_stays() -> None:
    z, x = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(infer_latent(lambda z: z, z, x, Latent(), SIGMA, BatchNoise(stream(4))), z)
    with torch.no_grad():
        inferred = infer_latent(lambda z: z, z, x, Latent(steps=2), SIGMA, BatchNoise(stream(4)))
    assert not inferred.requires_grad and not torch.equal(inferred, z)


def test_at_64_px_a_few_steps_explain_the_picture_better() -> None:
    """The default step is stable on a U-Net, whose Jacobian is large."""
    from redraft.core.types import Spec
    from redraft.nets.unet import UNet

    spec = Spec(size=64, channels=3, condition="picture", width=1)
    torch.manual_seed(0)
    net, c = UNet(spec, 16, 8), torch.rand(2, 1, 64, 64)
    wanted = torch.randn(2, *net.z_shape)
    x = net(wanted, c).detach()
    z = wanted + 0.5 * torch.randn(wanted.shape)

    def misfit(z: torch.Tensor) -> float:
        return (x - net(z, c)).square().sum().item()

    inferred = infer_latent(lambda z: net(z, c), z, x, Latent(steps=10), 0.3, BatchNoise(stream(0)))
    assert misfit(inferred) < misfit(z)
