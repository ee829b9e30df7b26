"""What a residual still says of its condition is found; what is independent is not accused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from redraft.evaluation.residual import ResidualTest, residual_test


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [6, 600])
@pytest.mark.parametrize("seed", range(3))
def test_an_independent_normal_residual_passes(d: int, seed: int) -> None:
    found = residual_test(normal(250, d, seed=seed), normal(250, 20, seed=seed + 50))
    assert found.independent and found.told.value < 0.02 and found.norm.low <= 1 <= found.norm.high
    assert abs(found.deviation - 1) < 0.05 and abs(found.kurtosis) < 0.4 and found.mean < 6
    assert (found.examples, found.numbers) == (250, d)
    assert "tells nothing" in found.lines()[1] and "(both 1 wanted)" in found.lines()[0]


def shifted(v: Tensor, c: Tensor) -> Tensor:
    """The condition moves each residual a little: a flow that ignored c."""
    return v + 0.7 * c @ normal(c.shape[1], v.shape[1], seed=9) / c.shape[1] ** 0.5


def spread(v: Tensor, c: Tensor) -> Tensor:
    """The mean is as it should be; c sets how wide the residual spreads."""
    return v * (0.5 * c[:, :1]).exp()


@pytest.mark.parametrize("planted", [shifted, spread])
@pytest.mark.parametrize("d", [6, 600])
def test_a_residual_that_depends_on_the_condition_is_found(planted: object, d: int) -> None:
    c = normal(300, 4, seed=3)
    found = residual_test(planted(normal(300, d), c), c)  # type: ignore[operator]
    assert not found.independent and found.told.low > 0.05 > max(found.told_shuffled)
    assert "still tells" in found.lines()[1]


def test_categories_that_are_told_are_found_and_others_are_not() -> None:
    c, v = torch.arange(200) % 4, normal(200, 8)
    assert residual_test(v, c).independent
    assert not residual_test(v + 0.8 * normal(4, 8, seed=2)[c], c).independent


@pytest.mark.parametrize(
    ("v", "broken"),
    [
        (1.3 * normal(400, 16), "deviation"),
        (normal(400, 16).pow(3) / 15**0.5, "kurtosis"),
        (normal(400, 16) + 0.5 * torch.eye(16)[0], "mean"),
    ],
)
def test_what_is_not_standard_normal_shows(v: Tensor, broken: str) -> None:
    found = residual_test(v, normal(400, 3, seed=1))
    usual = residual_test(normal(400, 16, seed=4), normal(400, 3, seed=1))
    off = {k: abs(getattr(found, k) - getattr(usual, k)) for k in ("deviation", "kurtosis", "mean")}
    assert off[broken] > {"deviation": 0.2, "kurtosis": 5, "mean": 5}[broken]
    assert found.independent


def test_half_the_squared_norm_is_half_the_numbers() -> None:
    v = normal(500, 3, 2, 2)
    found = residual_test(v, normal(500, 2, seed=1))
    assert found.numbers == 12 and found.norm.value == pytest.approx(float(v.flatten(1).square().mean()))


def test_maps_constant_conditions_and_too_few_rows() -> None:
    quiet: ResidualTest = residual_test(normal(40, 2, 3, 3), torch.ones(40, 5))
    assert quiet.independent
    with pytest.raises(ValueError, match="20 rows"):
        residual_test(normal(10, 3), normal(10, 2))
    again = [residual_test(normal(60, 5), normal(60, 2, seed=1)) for _ in "ab"]
    assert again[0] == again[1]
