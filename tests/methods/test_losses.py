"""Adversarial losses, penalties and PatchNCE against closed forms, slopes by hand and plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from redraft import losses
from redraft.core.rng import stream
from redraft.methods.contest import LOSSES

REAL = torch.tensor([-3.0, -1.0, -0.2, 0.5, 0.9, 2.5], dtype=torch.float64)
MADE = torch.tensor([-2.0, -0.7, 0.1, 0.6, 1.4, 4.0], dtype=torch.float64)


def sigmoid(t: Tensor) -> Tensor:
    return 1 / (1 + (-t).exp())


# loss -> (discriminator's value, its slopes in real and made; generator's value and slope), all by hand
BY_HAND = {
    "nonsaturating": (
        lambda r, m: (-sigmoid(r).log()).mean() + (-(1 - sigmoid(m)).log()).mean(),
        lambda r, m: (sigmoid(r) - 1, sigmoid(m)),
        lambda m: (-sigmoid(m).log()).mean(),
        lambda m: sigmoid(m) - 1,
    ),
    "hinge": (
        lambda r, m: (
            sum(max(0.0, 1 - float(v)) for v in r) / len(r) + sum(max(0.0, 1 + float(v)) for v in m) / len(m)
        ),
        lambda r, m: (-(r < 1).double(), (m > -1).double()),
        lambda m: -m.mean(),
        lambda m: -torch.ones_like(m),
    ),
    "wasserstein": (
        lambda r, m: m.mean() - r.mean(),
        lambda r, m: (-torch.ones_like(r), torch.ones_like(m)),
        lambda m: -m.mean(),
        lambda m: -torch.ones_like(m),
    ),
    "least_squares": (
        lambda r, m: ((r - 1) ** 2).mean() + (m**2).mean(),
        lambda r, m: (2 * (r - 1), 2 * m),
        lambda m: ((m - 1) ** 2).mean(),
        lambda m: 2 * (m - 1),
    ),
}


def test_every_loss_is_checked_by_hand() -> None:
    assert set(BY_HAND) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_both_players_losses_and_slopes(name: str) -> None:
    value, slopes, generator, generator_slope = BY_HAND[name]
    real, made = REAL.clone().requires_grad_(), MADE.clone().requires_grad_()
    loss = LOSSES[name].discriminator(real, made)
    assert loss.item() == pytest.approx(float(value(REAL, MADE)), rel=1e-12)
    got = torch.autograd.grad(loss, (real, made))
    for mine, hand in zip(got, slopes(REAL, MADE), strict=True):
        torch.testing.assert_close(mine, hand / len(hand), rtol=1e-12, atol=1e-15)
    loss = LOSSES[name].generator(made)
    assert loss.item() == pytest.approx(float(generator(MADE)), rel=1e-12)
    (got,) = torch.autograd.grad(loss, made)
    torch.testing.assert_close(got, generator_slope(MADE) / len(MADE), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["nonsaturating", "hinge"])
def test_sure_logits_overflow_nowhere(name: str) -> None:
    far = torch.tensor([1e4], dtype=torch.float64)
    assert LOSSES[name].discriminator(far, -far) == 0
    assert LOSSES[name].discriminator(-far, far).isfinite() and LOSSES[name].generator(-far).isfinite()


P = torch.tensor([0.1, 0.2, 0.3, 0.25, 0.15], dtype=torch.float64)  # how often data visit five places
Q = torch.tensor([0.3, 0.1, 0.2, 0.35, 0.05], dtype=torch.float64)  # and the generator
VISITS = [torch.repeat_interleave(torch.arange(5), (100 * law).round().long()) for law in (P, Q)]


def played(name: str, logits: Tensor) -> Tensor:
    """The discriminator's loss when its logits at the five places are these."""
    return LOSSES[name].discriminator(logits[VISITS[0]], logits[VISITS[1]])


@pytest.mark.parametrize(("name", "best"), [("nonsaturating", (P / Q).log()), ("least_squares", P / (P + Q))])
def test_the_best_discriminator_has_a_closed_form(name: str, best: Tensor) -> None:
    logits = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=400, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = played(name, logits)
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(logits.detach(), best, rtol=0, atol=1e-5)


def test_the_best_hinge_discriminator_says_which_law_is_greater() -> None:
    """There the loss is twice the overlap of both laws, and convex: no neighbour is lower."""
    best = (P - Q).sign()
    lowest = played("hinge", best)
    assert lowest.item() == pytest.approx(2 * torch.minimum(P, Q).sum().item())
    for seed in range(20):
        neighbour = best + 0.1 * torch.randn(5, generator=stream(seed), dtype=torch.float64)
        assert played("hinge", neighbour) > lowest


# --- penalties


def pictures(n: int = 4) -> Tensor:
    return torch.randn(n, 2, 3, 3, generator=stream(0), dtype=torch.float64)


def test_r1_of_a_line_and_of_a_parabola() -> None:
    x, w = pictures(), pictures(1)
    line = losses.r1(lambda x: (x * w).flatten(1).sum(1), x)
    assert line.item() == pytest.approx(0.5 * w.square().sum().item(), rel=1e-12)
    parabola = losses.r1(lambda x: 1.5 * (x - w).square().flatten(1).sum(1), x)  # slope 3 (x - w)
    assert parabola.item() == pytest.approx(4.5 * (x - w).square().flatten(1).sum(1).mean().item(), rel=1e-12)


def test_gradient_penalty_of_a_line_and_of_a_parabola() -> None:
    x, w = pictures(), pictures(1)
    line = losses.gradient_penalty(lambda x: (x * w).flatten(1).sum(1), x)
    assert line.item() == pytest.approx((w.norm().item() - 1) ** 2, rel=1e-12)
    unit = losses.gradient_penalty(lambda x: (x * w / w.norm()).flatten(1).sum(1), x)
    assert unit.item() == pytest.approx(0, abs=1e-24)
    parabola = losses.gradient_penalty(lambda x: 1.5 * (x - w).square().flatten(1).sum(1), x)
    by_hand = ((3 * (x - w).flatten(1).norm(dim=1) - 1) ** 2).mean()
    assert parabola.item() == pytest.approx(by_hand.item(), rel=1e-12)


@pytest.mark.parametrize("penalty", [losses.r1, losses.gradient_penalty])
def test_penalties_teach_the_weights(penalty: object) -> None:
    """Double backward against central differences, on two layers that bend."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 2), torch.nn.Softplus(), torch.nn.Flatten(), torch.nn.Linear(12, 1)
    ).double()
    x, step = pictures(), 1e-5

    def value() -> Tensor:
        return penalty(lambda x: net(x).squeeze(1), x)  # type: ignore[operator]

    value().backward()
    for p in (net[0].weight, net[0].bias, net[3].weight):
        flat, grad = p.data.view(-1), p.grad.view(-1)
        for i in range(0, len(flat), 5):
            old, ends = flat[i].item(), []
            for sign in (1, -1):
                flat[i] = old + sign * step
                ends.append(value().item())
            flat[i] = old
            assert grad[i].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-9)
    assert net[3].bias.grad is None or net[3].bias.grad == 0  # a constant has no slope


def test_penalties_work_where_no_gradient_is_asked_for() -> None:
    x, w = pictures(), pictures(1)
    with torch.no_grad():
        assert losses.r1(lambda x: (x * w).flatten(1).sum(1), x) > 0
    assert not x.requires_grad


# --- PatchNCE


def unit(n: int, p: int, d: int, seed: int) -> Tensor:
    x = torch.randn(n, p, d, generator=stream(seed), dtype=torch.float64)
    return x / x.norm(dim=2, keepdim=True)


def test_patch_nce_is_the_loop_of_its_equation() -> None:
    query, key, tau, terms = unit(3, 5, 4, 1), unit(3, 5, 4, 2), 0.07, []
    for n in range(3):
        for p in range(5):
            scores = [math.exp(float(query[n, p] @ key[n, other]) / tau) for other in range(5)]
            terms.append(-math.log(scores[p] / sum(scores)))
    assert losses.patch_nce(query, key, tau).item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)


def test_patch_nce_is_log_p_at_chance_and_zero_when_all_are_told_apart() -> None:
    one = unit(1, 1, 8, 3).expand(2, 6, -1)
    assert losses.patch_nce(one, one).item() == pytest.approx(math.log(6), rel=1e-12)
    apart = torch.eye(6, dtype=torch.float64).expand(2, -1, -1)
    assert losses.patch_nce(apart, apart).item() == pytest.approx(
        math.log1p(5 * math.exp(-1 / 0.07)), abs=1e-12
    )


def test_patch_nce_compares_within_a_picture_and_teaches_no_key() -> None:
    query, key = unit(2, 5, 4, 1).requires_grad_(), unit(2, 5, 4, 2).requires_grad_()
    loss = losses.patch_nce(query, key)
    loss.backward()
    assert key.grad is None and query.grad is not None and query.grad.abs().sum() > 0
    alone = [losses.patch_nce(query[i : i + 1], key[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss, sum(alone) / 2)
