"""Network fusion: eq. 4 as its loss, what it learns of laws that are known, and its ways to make pictures."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.fusion import Fusion
from redraft.nets.flow import Flow, FlowConfig

SPECS = {
    "none": Spec(size=1, channels=6, condition="none"),
    "category": Spec(size=1, channels=6, condition="category", width=3),
    "vector": Spec(size=1, channels=7, condition="vector", width=5),
    "picture": Spec(size=4, channels=4, condition="picture", width=2),
}
TWO = Spec(size=4, channels=3, condition="category", width=2)
SMALL = FlowConfig(blocks=3, width=16, embed=8)


def batch(kind: str, n: int = 6) -> Pair:
    spec, g = SPECS[kind], stream(1)
    c = {
        "none": None,
        "category": torch.arange(n) % 3,
        "vector": torch.randn(n, 5, generator=g),
        "picture": torch.randn(n, 2, 4, 4, generator=g),
    }[kind]
    return Pair(c, 0.3 * torch.randn(n, spec.channels, spec.size, spec.size, generator=g))


def fusion(spec: Spec, *, stirred: bool = True, domains: bool = False, **settings: float) -> Fusion:
    torch.manual_seed(0)
    flow = Flow(spec, SMALL)
    if stirred:
        with torch.no_grad():
            for p in flow.parameters():
                p.add_(0.1 * torch.randn_like(p))
    return Fusion(Fusion.Config(**settings), initializer=flow, domains=domains)


class Recorder:
    """An ``update`` that keeps what it is given."""

    done = 0.0

    def __init__(self) -> None:
        self.calls: list[tuple[nn.Module, Tensor]] = []

    def __call__(self, net: nn.Module, loss: Tensor) -> None:
        self.calls.append((net, loss.detach()))
        loss.backward(inputs=list(net.parameters()))

    def restart(self, net: nn.Module) -> None:
        raise AssertionError("nothing is restarted")


class Adam:
    """A plain ``update``."""

    done = 0.0

    def __init__(self, net: nn.Module, lr: float) -> None:
        self.adam = torch.optim.Adam(net.parameters(), lr, fused=True)

    def __call__(self, net: nn.Module, loss: Tensor) -> None:
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()

    def restart(self, net: nn.Module) -> None:
        raise AssertionError("nothing is restarted")


@pytest.mark.parametrize("kind", SPECS)
def test_the_loss_is_the_negative_log_likelihood_a_number(kind: str) -> None:
    """Against the determinant by autograd and torch's own normal law."""
    method, update = fusion(SPECS[kind], data_noise=0.0).double(), Recorder()
    c, x = batch(kind)
    c, x = c.double() if c is not None and c.is_floating_point() else c, x.double()
    values = method.step(Pair(c, x), update, BatchNoise(stream(2)))

    def v(flat: Tensor, i: int) -> Tensor:
        return method.initializer.inverse(flat.view(1, *x[i].shape), None if c is None else c[i : i + 1])[0]

    total, normal = 0.0, torch.distributions.Normal(0, 1)
    for i in range(len(x)):
        flat = x[i].flatten()
        jacobian = torch.autograd.functional.jacobian(lambda y, i=i: v(y, i).flatten(), flat)
        total += normal.log_prob(v(flat, i)).sum() + torch.linalg.slogdet(jacobian)[1]
    expected = -total / (len(x) * x[0].numel())
    torch.testing.assert_close(values["loss_initializer"], expected.detach())
    torch.testing.assert_close(method.energy(x, c).mean(), expected.detach())
    assert [net for net, _ in update.calls] == [method.initializer] == list(method.networks.values())
    assert {"loss_initializer", "energy_data", "half_norm"} == set(values)
    assert all(value.ndim == 0 for value in values.values())


@pytest.mark.parametrize("kind", SPECS)
def test_what_it_makes_is_told_its_own_likelihood(kind: str) -> None:
    method, c = fusion(SPECS[kind], temperature=0.7), batch(kind).condition
    made = method.generate(c, 6, PictureNoise(3, range(6)))
    torch.testing.assert_close(made.energies, method.energy(made.images, c), rtol=1e-4, atol=1e-4)
    assert torch.equal(made.drafts, made.images) and torch.equal(made.draft_energies, made.energies)
    assert made.images.shape == batch(kind).target.shape and not made.images.requires_grad
    assert made.trace == [] and made.trace_energies.shape == (0, 6) and method.refine_steps == 0
    (only,) = method.generate(c, 6, PictureNoise(3, range(6)), trace=True).trace  # K + 1 pictures
    assert torch.equal(only, made.images)
    v = 0.7 * PictureNoise(3, range(6)).normal(6, *method.initializer.z_shape)
    torch.testing.assert_close(made.images, method.from_residual(v, c))


def test_it_cannot_refine_and_says_what_can() -> None:
    method = fusion(SPECS["none"])
    method.generate(None, 2, PictureNoise(0, range(2)), refine=0)
    with pytest.raises(UsageError, match="--method solver --initializer RUN"):
        method.generate(None, 2, PictureNoise(0, range(2)), refine=3)


def test_noise_is_drawn_for_what_is_asked_alone() -> None:
    c, x = batch("vector")
    for settings in ({}, {"condition_noise": 0.5}):
        seen: list[Pair] = []
        method = fusion(SPECS["vector"], data_noise=0.2, **settings)
        inverse = method.initializer.inverse
        method.initializer.inverse = lambda x, c, inverse=inverse, seen=seen: (  # type: ignore[method-assign]
            seen.append(Pair(c, x)),
            inverse(x, c),
        )[1]
        method.step(Pair(c, x), Recorder(), BatchNoise(stream(2)))
        assert 0.1 < (seen[0].target - x).std() < 0.3
        assert torch.equal(seen[0].condition, c) == (not settings)
    labels = batch("category")
    fusion(SPECS["category"], condition_noise=1.0).step(labels, Recorder(), BatchNoise(stream(2)))


def test_settings_that_mean_nothing_are_refused() -> None:
    for name in ("temperature", "data_noise", "condition_noise"):
        with pytest.raises(UsageError, match=name):
            Fusion.Config(**{name: -1.0})


# ---- residuals


def test_an_exemplars_residual_gives_it_back_under_its_own_condition() -> None:
    method, (c, x) = fusion(SPECS["picture"]), batch("picture")
    v = method.residual(x, c)
    torch.testing.assert_close(method.from_residual(v, c), x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(method.exchange(x, c, c), x, rtol=1e-4, atol=1e-5)
    other = c.flip(0)
    assert torch.equal(method.exchange(x, c, other, 0.0), x)
    torch.testing.assert_close(method.exchange(x, c, other), method.from_residual(v, other))
    half = method.exchange(x, c, other, 0.5)
    torch.testing.assert_close(half, (x + method.from_residual(v, other)) / 2)


def two_sides(t: int, n: int = 32) -> Pair:
    """Each side is the same patterns at another brightness and contrast; none has its partner beside it."""
    g = stream(4, t)
    given = 0.2 * torch.randn(n, 3, 4, 4, generator=g) - 0.4
    wanted = 0.1 * torch.randn(n, 3, 4, 4, generator=g) + 0.5
    return Pair(given, wanted)


def test_domains_are_exchanged_with_what_is_in_them_kept() -> None:
    torch.manual_seed(0)
    method = Fusion(Fusion.Config(), initializer=Flow(TWO, SMALL), domains=True)
    method.begin(two_sides(-1, 200))
    update = Adam(method.initializer, 5e-3)
    values = [method.step(two_sides(t), update, BatchNoise(stream(5, t))) for t in range(80)]
    assert values[-1]["loss_initializer"] < values[0]["loss_initializer"] - 0.2
    method.eval()
    c, x = two_sides(99, 100)
    made = method.generate(c, 100, PictureNoise(0, range(100)))
    assert (made.images.mean() - x.mean()).abs() < 0.05 and 0.05 < made.images.std() < 0.2
    content = torch.corrcoef(torch.stack([made.images.flatten(), c.flatten()]))[0, 1]
    assert content > 0.7  # no pair was ever seen
    torch.testing.assert_close(made.energies, method.energy(made.images, c), rtol=1e-3, atol=1e-3)
    assert method.energy(x, c).mean() < method.energy(c, x).mean()


# ---- laws that are known


def ring(t: int, n: int = 256) -> tuple[Tensor, Tensor, Tensor]:
    """p(x | c): two of six Gaussians on a ring, which two the category says; −log p(x | c) [n] beside."""
    g = stream(8, t)
    c = torch.randint(3, (n,), generator=g)
    angle = (torch.arange(6) * math.pi / 3).view(2, 3).T  # [c, which]: opposite ones
    centres = 0.6 * torch.stack([angle.cos(), angle.sin()], -1)[c]  # [n, 2, 2]
    pick = torch.randint(2, (n,), generator=g)
    x = centres[torch.arange(n), pick] + 0.12 * torch.randn(n, 2, generator=g)
    parts = torch.distributions.Normal(centres, 0.12).log_prob(x[:, None]).sum(-1)
    return x[:, :, None, None], c, math.log(2) - parts.logsumexp(1)


def sheet(t: int, n: int = 256) -> tuple[Tensor, Tensor, Tensor]:
    """p(x | c) = N(A c, S S'), of 8 numbers given 3, S triangular."""
    g, h = stream(9, t), stream(10)
    a = 0.3 * torch.randn(8, 3, generator=h)
    s = 0.1 * torch.randn(8, 8, generator=h).tril(-1) + 0.2 * torch.eye(8)
    c = torch.randn(n, 3, generator=g)
    law = torch.distributions.MultivariateNormal(c @ a.T, scale_tril=s)
    x = law.loc + torch.randn(n, 8, generator=g) @ s.T
    return x[:, :, None, None], c, -law.log_prob(x)


LAWS: dict[str, Any] = {
    "ring": (ring, Spec(size=1, channels=2, condition="category", width=3), 0.12),
    "sheet": (sheet, Spec(size=1, channels=8, condition="vector", width=3), 0.03),
}


@pytest.mark.parametrize("law", LAWS)
def test_it_learns_a_known_law_to_its_entropy(law: str) -> None:
    """Held-out nats a number against the truth's; the residual is then standard and tells nothing of c."""
    draw, spec, tolerance = LAWS[law]
    torch.manual_seed(0)
    flow = Flow(spec, FlowConfig(blocks=6, width=48, embed=16))
    method = Fusion(Fusion.Config(data_noise=0.0), initializer=flow)
    x, c, _ = draw(-1, 500)
    method.begin(Pair(c, x))
    update, steps = Adam(flow, 5e-3), 250
    for t in range(steps):
        update.adam.param_groups[0]["lr"] = 5e-3 * min(1, 2 * (1 - t / steps))
        x, c, _ = draw(t)
        method.step(Pair(c, x), update, BatchNoise(stream(0, t)))
    method.eval()
    x, c, truth = draw(10**6, 4000)
    learned, best = method.energy(x, c).mean(), truth.mean() / spec.channels
    assert best - 0.01 < learned < best + tolerance
    v = method.residual(x, c).flatten(1)
    assert abs(v.square().mean() - 1) < 0.1
    told = c.double() if c.ndim > 1 else nn.functional.one_hot(c).double()
    told = told - told.mean(0)
    fit = told @ torch.linalg.lstsq(told, v.double()).solution
    assert fit.var() < 0.01 * v.var()  # of the residual's variance, what a linear look at c foretells


def test_it_starts_from_the_examples() -> None:
    c, x = batch("vector", 300)
    method = fusion(SPECS["vector"], stirred=False)
    method.begin(Pair(c, x))
    assert method.initializer.begun and abs(method.residual(x, c).std() - 1) < 0.01
