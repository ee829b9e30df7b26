"""DiffAugment: differentiable, the published ranges, and a condition that moves with its picture."""

from __future__ import annotations

import torch

from redraft.augment import diff_augment, draw, follow
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
