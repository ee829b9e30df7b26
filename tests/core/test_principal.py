"""Principal components against the singular value decomposition."""

from __future__ import annotations

import pytest
import torch

from redraft.core.principal import principal


@pytest.mark.parametrize(("n", "d"), [(40, 7), (7, 40)])
def test_components_are_those_of_the_decomposition(n: int, d: int) -> None:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0)).double() + 3
    found = principal(x, 5)
    _, s, v = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    torch.testing.assert_close(found.spread, s[:5] / n**0.5)
    torch.testing.assert_close((found.axes @ v[:5].T).abs(), torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(found.mean, x.mean(0))


def test_no_more_than_there_are_and_alike_whatever_the_order() -> None:
    x = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    found = principal(x, 8)
    assert len(found.axes) == 3  # four points span three directions
    torch.testing.assert_close(principal(x.flip(0), 8).axes, found.axes)
    u = (x.double() - found.mean) @ found.axes.T
    torch.testing.assert_close(found.mean + u @ found.axes, x.double())
