"""What a condition says by a straight line, and a flow that begins there."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from redraft.core.types import Spec
from redraft.methods.fusion import nats
from redraft.nets import regression
from redraft.nets.flow import Flow, FlowConfig
from redraft.nets.regression import READ, Regression


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spec(condition: Any, width: int, side: int = 0) -> Spec:
    return Spec(size=1, channels=6, condition=condition, width=width, side=side)


def test_a_straight_line_is_found() -> None:
    c, weights = normal(200, 4), normal(4, 6, seed=1)
    x = (3 + c @ weights)[..., None, None]
    line = Regression(spec("vector", 4))
    told = line.fit(c, x)
    new = normal(50, 4, seed=2)
    assert told > 0.999
    torch.testing.assert_close(line(new), (3 + new @ weights)[..., None, None], atol=1e-3, rtol=0)


def test_of_a_category_it_is_the_mean_nearly() -> None:
    c = torch.arange(300) % 3
    x = normal(3, 6)[c] + 0.1 * normal(300, 6, seed=1)
    line = Regression(spec("category", 3))
    line.fit(c, x[..., None, None])
    means = torch.stack([x[c == k].mean(0) for k in range(3)])
    torch.testing.assert_close(line(torch.arange(3)).flatten(1), means, atol=0.02, rtol=0)


def test_a_condition_that_says_nothing_leaves_the_mean() -> None:
    c, x = normal(100, 4), normal(100, 6, 1, 1, seed=1)
    line = Regression(spec("vector", 4))
    assert line.fit(c, x) < 0.05
    assert (line(normal(50, 4, seed=2)) - x.mean(0)).abs().max() < 0.5


def test_a_map_is_told_by_the_places_around() -> None:
    c, kernel = normal(40, 4, 8, 8), normal(6, 4, 3, 3, seed=1)
    x = torch.nn.functional.conv2d(c, kernel, normal(6), padding=1)
    line = Regression(Spec(size=8, channels=6, condition="picture", width=4, side=8))
    assert line.fit(c, x) > 0.999
    torch.testing.assert_close(line(c), x, atol=1e-3, rtol=0)


@pytest.mark.parametrize("most", [400, 399, 267, 200, 100])
def test_it_is_found_from_all_columns_of_maps(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(regression, "PLACES", most)
    c, x = torch.zeros(50, 1, 4, 4), torch.arange(4.0).expand(50, 1, 4, 4)
    line = Regression(Spec(size=4, channels=1, condition="picture", width=1, side=4))
    line.fit(c, x)
    assert abs(float(line(c).mean()) - 1.5) < 0.1


def test_large_pictures_are_averaged() -> None:
    line = Regression(spec("picture", 48, side=16))
    assert len(line.mean) <= READ
    c, x = normal(30, 48, 16, 16), normal(30, 6, 1, 1)
    line.fit(c, x)
    assert line(c).shape == x.shape


@pytest.mark.parametrize("regression", [True, False])
def test_a_flow_begins_at_the_gaussian_of_the_rest(regression: bool) -> None:
    """x = Ac + e with e ~ N(0, s²): no density does better on new pairs than the entropy of e."""
    flow = Flow(spec("vector", 4), FlowConfig(blocks=2, width=16, regression=regression))
    weights, s = normal(4, 6, seed=1), 0.2

    def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
        c = normal(n, 4, seed=seed)
        return (c @ weights + s * normal(n, 6, seed=seed + 1))[..., None, None], c

    flow.begin(*drawn(2000, 2))
    x, c = drawn(2000, 4)
    held = float(nats(*flow.inverse(x, c)).mean().detach())
    entropy = 0.5 * math.log(2 * math.pi * math.e * s**2)
    assert (abs(held - entropy) < 0.02) if regression else (held > entropy + 0.5)
    torch.testing.assert_close(flow(flow.inverse(x, c)[0], c).detach(), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("examples", [10, 40, 200])
def test_new_examples_do_not_lie_far_out_where_a_condition_has_more_numbers_than_there_are_examples(
    examples: int,
) -> None:
    """The line goes through the examples that it was found from, or nearly so; others lie beside it."""
    flow = Flow(spec("vector", 384), FlowConfig(blocks=2, width=16))
    weights, mixed = normal(384, 6, seed=1) / 384**0.5, normal(30, 384, seed=9)

    def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
        c = normal(n, 30, seed=seed) @ mixed
        return (c @ weights + 0.05 * normal(n, 6, seed=seed + 1))[..., None, None], c

    flow.begin(*drawn(examples, 2))
    v = flow.inverse(*drawn(200, 4))[0].detach()
    assert 0.5 < float(v.square().mean()) < 6  # 1 wanted
