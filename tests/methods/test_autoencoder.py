"""The autoencoder's step: each term by hand, against autograd and torch.distributions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.autoencoder import MOST, STAGES, Autoencoder, balance, kl, spread
from redraft.nets.autoencoder import AutoencoderConfig, AutoencoderNet
from redraft.nets.pix2pix import PatchGAN

SPEC = Spec(size=16, channels=1, condition="none")


def autoencoder(latent: str = "vector", **settings: object) -> Autoencoder:
    torch.manual_seed(0)
    net = AutoencoderNet(SPEC, AutoencoderConfig(latent=latent, numbers=6, width=8, factor=4))
    cfg = Autoencoder.Config(**{"perceptual": 0.0, **settings})
    return Autoencoder(cfg, initializer=net, solver=PatchGAN(SPEC, 8), perceptual=far)


def far(made: Tensor, x: Tensor) -> Tensor:
    return (made - x).square().flatten(1).mean(1)


def pictures(n: int = 4) -> Pair:
    return Pair(None, torch.rand(n, 1, 16, 16, generator=stream(1)) * 2 - 1)


class Kept:
    """An update that keeps what it is given and moves nothing."""

    def __init__(self, done: float = 0.0) -> None:
        self.done, self.losses = done, []

    def __call__(self, net: nn.Module, loss: Tensor) -> None:
        self.losses.append((net, loss))

    def restart(self, net: nn.Module) -> None: ...


def step(method: Autoencoder, done: float = 0.0) -> tuple[list, dict[str, Tensor]]:
    update = Kept(done)
    values = method.step(pictures(), update, BatchNoise(stream(2)))
    return update.losses, values


def made_by(method: Autoencoder) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    net, (_, x) = method.initializer, pictures()
    mean, logvar = net.posterior(x)
    z = mean + (logvar / 2).exp() * BatchNoise(stream(2)).normal(4, *net.z_shape)
    return mean, logvar, z, net.decode(z)


def test_kl_is_that_of_torch_distributions() -> None:
    mean, logvar = (torch.randn(5, 3, 2, 2, generator=stream(i)) for i in (0, 1))
    theirs = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0.0, 1.0)).sum((1, 2, 3)).mean()
    torch.testing.assert_close(kl(mean, logvar), theirs)
    assert kl(torch.zeros(2, 3), torch.zeros(2, 3)) == 0


@pytest.mark.parametrize("latent", ["vector", "spatial"])
def test_a_step_costs_what_the_paper_says(latent: str) -> None:
    method = autoencoder(latent, kl=0.5, perceptual=2.0, learned_scale=True)
    nn.init.constant_(method.initializer.error_scale, -0.7)
    (mean, logvar, z, made), (_, x) = made_by(method), pictures()
    s = torch.tensor(-0.7)
    told = ((x - made).abs().mean() + 2 * far(made, x).mean()) / s.exp() + s + 0.5 * kl(mean, logvar) / 256
    ((net, loss),), values = step(method)
    assert net is method.initializer
    torch.testing.assert_close(values["loss_initializer"], told)
    torch.testing.assert_close(loss, told + spread(method.initializer, z))


def test_without_a_learned_scale_s_is_left_alone() -> None:
    method = autoencoder()
    ((_, loss),), _ = step(method)
    loss.backward()
    assert method.initializer.error_scale.grad is None


@pytest.mark.parametrize("latent", ["vector", "spatial"])
def test_the_codes_mean_and_spread_are_learnt_by_likelihood_and_move_nothing_else(latent: str) -> None:
    net = autoencoder(latent).initializer
    z = 2 * torch.randn(400, *net.z_shape, generator=stream(0)) + 1
    z.requires_grad_()
    mean, sd = net.codes()
    theirs = -Normal(mean, sd).log_prob(z).mean() - 0.5 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(spread(net, z), theirs)
    adam = torch.optim.Adam([net.centre, net.log_spread], 2e-3, betas=(0.5, 0.99))
    for _ in range(800):
        adam.zero_grad()
        spread(net, z).backward()
        adam.step()
    assert z.grad is None
    mean, sd = net.codes()
    flat = z.detach().transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean.flatten(), flat.mean(1), atol=0.05, rtol=0)
    torch.testing.assert_close(sd.flatten(), flat.std(1), atol=0.05, rtol=0)


def test_the_contest_begins_after_its_share_and_learns_from_pictures_made() -> None:
    method = autoencoder(adversarial=0.3, start=0.5)
    assert method.stage == STAGES[0]
    losses, values = step(method, 0.4)
    assert [net for net, _ in losses] == [method.initializer] and "loss_solver" not in values
    losses, values = step(method, 0.5)
    assert method.stage == STAGES[1]
    assert [net for net, _ in losses] == [method.discriminator, method.initializer]
    (_, _, z, made), (_, x) = made_by(method), pictures()
    real, fake = (method.discriminator.logits(each, ()) for each in (x, made))
    hinge = (1 - real).relu().mean() + (1 + fake).relu().mean()
    torch.testing.assert_close(losses[0][1], hinge, rtol=1e-4, atol=1e-5)
    own = (x - made).abs().mean() + 1e-6 * kl(*method.initializer.posterior(x)) / 256
    whole = own - 0.3 * fake.mean() + spread(method.initializer, z)
    torch.testing.assert_close(losses[1][1], whole, rtol=1e-4, atol=1e-5)
    assert set(values) >= {"energy_data", "energy_draft", "told_apart", "loss_contest"}


def test_the_discriminator_takes_no_gradient_from_the_autoencoder() -> None:
    method = autoencoder(adversarial=0.3, start=0.0)
    (_, (net, loss)), _ = step(method)
    loss.backward()
    assert all(p.grad is None for p in method.discriminator.parameters())
    assert all(p.requires_grad for p in method.discriminator.parameters())


def test_the_adaptive_weight_by_hand() -> None:
    """In float64, each loss's slope at the last layer by a backward pass of its own."""
    torch.manual_seed(0)
    last, h = nn.Linear(3, 2).double(), torch.randn(5, 3, dtype=torch.float64, generator=stream(0))

    def losses() -> tuple[Tensor, Tensor]:
        y = last(h)
        return y.square().mean(), y.abs().sum()

    norms = []
    for i in (0, 1):
        last.zero_grad()
        losses()[i].backward()
        norms.append(last.weight.grad.norm())
    own, contest = losses()
    weight = balance(own, contest, last.weight)
    torch.testing.assert_close(weight, norms[0] / (norms[1] + 1e-4))
    assert not weight.requires_grad
    own, contest = losses()
    assert balance(1e9 * own, contest, last.weight) == MOST


def test_the_adaptive_weight_in_a_step() -> None:
    method = autoencoder(adversarial=0.5, adaptive=True, start=0.0)
    (_, (_, loss)), values = step(method)
    _, _, z, made = made_by(method)
    own, contest = values["loss_initializer"], -method.discriminator.logits(made, ()).mean()
    weight = 0.5 * balance(own, contest_of(method), method.initializer.last)
    torch.testing.assert_close(values["weight"], weight, rtol=1e-3, atol=1e-6)
    whole = own + weight * contest + spread(method.initializer, z)
    torch.testing.assert_close(loss, whole, rtol=1e-3, atol=1e-5)


def contest_of(method: Autoencoder) -> Tensor:
    return -method.discriminator.logits(made_by(method)[3], ()).mean()


def test_energy_is_the_reconstruction_error_and_pictures_are_not_refined() -> None:
    method, (_, x) = autoencoder(), pictures()
    net = method.initializer
    torch.testing.assert_close(
        method.energy(x, None),
        torch.stack([(a - net.decode(net.encode(a[None]))[0]).abs().mean() for a in x]),
    )
    made = method.generate(None, 3, BatchNoise(stream(0)))
    again = method.generate(None, 3, BatchNoise(stream(0)), refine=0, trace=True)
    assert (
        torch.equal(made.images, again.drafts)
        and len(again.trace) == 1
        and again.trace_energies.shape == (0, 3)
    )
    with pytest.raises(UsageError, match="--method solver"):
        method.generate(None, 3, BatchNoise(stream(0)), refine=2)


def test_a_perceptual_network_is_not_saved_with_the_model() -> None:
    class Net(nn.Linear):
        def forward(self, made: Tensor, x: Tensor) -> Tensor:
            return far(made, x)

    net = AutoencoderNet(SPEC, AutoencoderConfig(width=8))
    method = Autoencoder(
        Autoencoder.Config(), initializer=net, solver=PatchGAN(SPEC, 8), perceptual=Net(2, 2)
    )
    assert all(name.startswith("initializer.") for name in method.state_dict())
    assert set(method.networks) == {"initializer"}


@pytest.mark.parametrize("wrong", [{"kl": -1.0}, {"perceptual": -1.0}, {"adversarial": -0.1}, {"start": 1.0}])
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Autoencoder.Config(**wrong)
