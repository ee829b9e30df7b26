"""Drawings as hands make them: nothing where the hand is still, else fewer lines, and lines that wander."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.sketches import PATCHES, WAVES, Hand, leave_out, redrawn, wander

FREE = Hand(dropped=0.5, jitter=0.03)


def drawings(n: int = 3, size: int = 64) -> Tensor:
    """Upright lines, one px wide, every eight."""
    x = torch.ones(n, 1, size, size)
    x[..., 4::8] = -1
    return x


def ink(x: Tensor) -> Tensor:
    return (1 - x).sum((1, 2, 3))


class Silent:
    """Noise that must not be asked for."""

    def normal(self, n: int, *shape: int) -> Tensor:
        raise AssertionError("drawn from")


def test_a_still_hand_changes_nothing_and_draws_nothing() -> None:
    x = drawings()
    assert Hand().still and redrawn(x, Hand(), Silent()) is x


def test_it_is_a_function_of_the_noise_and_of_each_picture_alone() -> None:
    x = drawings()
    a, b = (redrawn(x, FREE, BatchNoise(stream(1))) for _ in range(2))
    assert torch.equal(a, b) and not torch.equal(a, redrawn(x, FREE, BatchNoise(stream(2))))
    assert not torch.allclose(a[0], a[1])
    whole = redrawn(x, FREE, PictureNoise(5, [0, 1, 2]))
    torch.testing.assert_close(redrawn(x[1:2], FREE, PictureNoise(5, [1])), whole[1:2])


def test_shares_of_a_batch_are_drawn_as_the_whole() -> None:
    x = drawings(4)
    whole = redrawn(x, FREE, BatchNoise(stream(1)))
    for rank in (0, 1):
        part = redrawn(x[rank::2], FREE, BatchNoise(stream(1), rank, 2))
        torch.testing.assert_close(part, whole[rank::2])


def test_the_share_of_the_page_is_left_blank_and_the_rest_is_there() -> None:
    x = -torch.ones(3, 1, 64, 64)  # ink everywhere
    patches = torch.randn(3, 1, PATCHES, PATCHES, generator=stream(3))
    share = torch.tensor([0.0, 0.3, 1.0])
    y = leave_out(x, share, patches)
    assert torch.equal(y[0], x[0]) and (y[2] == 1).all()
    assert (y[1] == 1).float().mean().item() == pytest.approx(0.3, abs=1e-3)
    assert (y[1] == -1).float().mean().item() > 0.4  # whole lines, not thinner ones everywhere


def test_lines_only_go() -> None:
    x = drawings()
    y = redrawn(x, Hand(dropped=0.6), BatchNoise(stream(4)))
    assert (y >= x - 1e-6).all() and (ink(y) < ink(x)).all() and y.amax() <= 1


def test_lines_are_moved_by_as_much_as_is_said() -> None:
    x, way = drawings(1), torch.zeros(1, 2, WAVES, WAVES)
    torch.testing.assert_close(wander(x, way), x)
    way[:, 0] = 2 / 64  # what lies two px to the right comes here
    torch.testing.assert_close(wander(x, way)[..., :-2], x[..., 2:])
    way[:, 0], way[:, 1] = 0, 0.1
    torch.testing.assert_close(wander(x, way), x)  # along themselves


def test_lines_wander_and_none_is_lost() -> None:
    x = drawings(200)
    y = redrawn(x, Hand(jitter=0.02), BatchNoise(stream(5)))
    torch.testing.assert_close(ink(y).mean(), ink(x).mean(), rtol=0.02, atol=0)
    middle = x[0, 0, 0].argmin() + 24
    near = (1 - y[:, 0, :, middle - 4 : middle + 5]) / 2
    places = torch.arange(-4.0, 5.0)
    off = (near * places).sum(-1) / near.sum(-1)
    assert 0.2 < off.std().item() < 64 * 0.02 and off.abs().max() > 1.5


def test_a_page_stays_white() -> None:
    white = torch.ones(2, 1, 32, 32)
    torch.testing.assert_close(redrawn(white, FREE, BatchNoise(stream(6))), white)


@pytest.mark.parametrize("wrong", [{"dropped": 1.5}, {"dropped": -0.1}, {"jitter": 0.5}])
def test_strengths_that_mean_nothing(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        Hand(**wrong)
