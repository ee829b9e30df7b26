"""The style is white noise to its condition, and readable from the picture."""

from __future__ import annotations

import torch

from redraft.core.rng import stream
from redraft.nets.style import Style, thumbnail


def pairs(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures whose thumbnail is half given by a condition and half by a hidden colour."""
    g = stream(seed)
    c = torch.randn(n, 2, 16, 16, generator=g).cumsum(2) / 4
    hidden = torch.randn(n, 3, 1, 1, generator=g)
    x = c.mean(1, keepdim=True) + hidden + 0.05 * torch.randn(n, 3, 16, 16, generator=g)
    return x, c


def test_codes_are_standard_and_the_condition_does_not_predict_them() -> None:
    x, c = pairs(400, 0)
    style = Style(3, 2, 4)
    explained = style.fit(x, c)
    code = style(x, c)
    torch.testing.assert_close(torch.cov(code.T), torch.eye(4), rtol=0, atol=0.02)
    torch.testing.assert_close(code.mean(0), torch.zeros(4), rtol=0, atol=1e-3)
    u = thumbnail(c) - thumbnail(c).mean(0)
    predicted = u @ torch.linalg.lstsq(u, code).solution
    assert predicted[:, :3].square().mean() < 0.15 and 0.02 < explained < 0.9
    fresh = style(*pairs(400, 1))
    assert 0.7 < fresh[:, :3].std() < 1.4


def test_a_condition_that_says_all_leaves_no_style() -> None:
    x, _ = pairs(200, 0)
    style = Style(3, 3, 4)
    assert style.fit(x, x.clone()) > 0.99
    assert style(x, x).abs().max() < 1


def test_fewer_pictures_than_numbers() -> None:
    x, c = pairs(3, 0)
    style = Style(3, 2, 8)
    style.fit(x, c)
    assert style(x, c).isfinite().all()


def test_the_code_is_differentiable_in_the_picture() -> None:
    x, c = pairs(50, 0)
    style = Style(3, 2, 4)
    style.fit(x, c)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(style(x, c).sum(), x)
    assert gradient.abs().sum() > 0
