"""DiffAugment: differentiable, the published ranges, and a condition that moves with its picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from redraft.augment import NONE, Chance, diff_augment, draw, follow
from redraft.core.rng import BatchNoise, stream


def test_shifts_are_uniform_over_an_eighth_of_the_side() -> None:
    """At 28 px: -4 to 4, each alike (the published rounding)."""
    x = torch.zeros(3000, 1, 28, 28)
    x[..., 14] = 1.0
    u = draw(len(x), BatchNoise(stream(0)))
    u[:, 5:] = 2.0  # the hole lies outside
    u[:, :3] = 0.5  # no change of colour
    moved = diff_augment(x, u)[:, 0].sum(1).argmax(1) - 14
    counts = torch.bincount(moved + 4, minlength=9)
    assert len(counts) == 9 and counts.min() > 250 and counts.max() < 420


def test_the_condition_is_moved_and_cut_as_its_picture_and_categories_stay() -> None:
    x = torch.rand(6, 3, 16, 16, generator=stream(1))
    u = draw(6, BatchNoise(stream(2)))
    u[:, :3] = 0.5
    torch.testing.assert_close(follow(x, u), diff_augment(x, u), rtol=1e-5, atol=1e-5)
    c = torch.arange(6)
    assert follow(c, u) is c and follow(None, u) is None


def test_each_picture_has_its_own_and_gradients_pass() -> None:
    x = torch.rand(2, 3, 16, 16, generator=stream(1)).requires_grad_()
    y = diff_augment(x, draw(2, BatchNoise(stream(3))))
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    assert gradient.abs().sum() > 0
    same = x[:1].expand(2, -1, -1, -1)
    a, b = diff_augment(same, draw(2, BatchNoise(stream(3))))
    assert not torch.allclose(a, b)


def test_colour_stays_within_the_published_ranges() -> None:
    x = torch.rand(500, 3, 8, 8, generator=stream(4)) * 2 - 1
    u = draw(500, BatchNoise(stream(5)))
    u[:, 3:5], u[:, 5:] = 0.5, 2.0
    y = diff_augment(x, u)
    assert ((y - x).mean((1, 2, 3)).abs() <= 0.5 + 1e-4).all()


# --- a share of the pictures


def chance(p: float) -> Chance:
    made = Chance()
    torch.nn.init.constant_(made.p, p)
    return made


def test_no_chance_is_the_identity_and_full_chance_is_always() -> None:
    x = torch.rand(64, 3, 16, 16, generator=stream(1)) * 2 - 1
    none = draw(64, BatchNoise(stream(2)), chance(0.0)())
    torch.testing.assert_close(diff_augment(x, none), x)
    torch.testing.assert_close(follow(x, none), x)
    always, plain = draw(64, BatchNoise(stream(2)), chance(1.0)()), draw(64, BatchNoise(stream(2)))
    assert torch.equal(always, plain)


def test_about_the_share_is_augmented_and_each_picture_whole_or_not_at_all() -> None:
    u = draw(4000, BatchNoise(stream(3)), chance(0.3)())
    alone = (u == u.new_tensor(NONE)).all(1)
    assert alone.float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert ((u[~alone] > 0) & (u[~alone] < 1)).all()


def steps(made: Chance, logits: Tensor, n: int, rate: float = 0.05) -> list[float]:
    """p over n steps of Adam without momentum, as train.lr.augmentation sets its rate."""
    adam = torch.optim.Adam(made.parameters(), rate, betas=(0.0, 0.9))
    seen = []
    for _ in range(n):
        adam.zero_grad()
        made.loss(logits, 0.6).backward()
        adam.step()
        seen.append(made().item())
    return seen


def test_the_share_rises_while_the_discriminator_is_sure_and_stays_within_its_ends() -> None:
    rising = steps(chance(0.0), torch.ones(8, 1), 60)
    assert rising[0] > 0.03 and rising[-1] == 1 and all(0 <= p <= 1 for p in rising)
    assert all(b >= a for a, b in zip(rising, rising[1:], strict=False))
    falling = steps(chance(1.0), torch.tensor([1.0, -1.0] * 4)[:, None], 60)
    assert falling[0] < 0.97 and falling[-1] == 0 and all(0 <= p <= 1 for p in falling)


def test_at_an_end_it_turns_round_at_once() -> None:
    """It does not run on beyond the end, from where it would have to come back first."""
    made = chance(0.0)
    steps(made, torch.ones(8, 1), 100)
    assert steps(made, -torch.ones(8, 1), 1)[0] < 0.99
    made = chance(0.0)
    steps(made, -torch.ones(8, 1), 100)
    assert steps(made, torch.ones(8, 1), 1)[0] > 0.01


def test_the_sign_is_of_a_pictures_mean_logit_and_none_of_it_teaches_the_discriminator() -> None:
    logits = torch.tensor([[[3.0, -1.0]], [[1.0, -2.0]]], requires_grad=True)  # signs +, -: r = 0
    made = chance(0.5)
    made.loss(logits, 0.6).backward()
    assert logits.grad is None and made.p.grad.item() == pytest.approx(0.6)  # type: ignore[union-attr]
    at_rest = chance(0.5)
    at_rest.loss(torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0])[:, None], 0.6).backward()
    assert at_rest.p.grad.item() == pytest.approx(0, abs=1e-7)  # type: ignore[union-attr]
