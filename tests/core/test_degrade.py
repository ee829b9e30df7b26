"""Pictures made worse: nothing where nothing is asked for, each in its own way, JPEG as others have it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.images import to_array, to_tensor
from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.degrade import RADIUS, Degradation, blurred, compressed, degraded, resampled

NONE = Degradation(blur=0, resample=0, noise=0, jpeg=0)


def pictures(n: int = 3, size: int = 20, channels: int = 3) -> Tensor:
    """Smooth, with an edge in it; no multiple of eight."""
    x = F.interpolate(torch.randn(n, channels, 4, 4, generator=stream(1)), size=size, mode="bicubic")
    x[..., size // 2 :] *= -1
    return x.clamp(-1, 1)


class Silent:
    """Noise that must not be asked for."""

    def normal(self, n: int, *shape: int) -> Tensor:
        raise AssertionError


def test_nothing_is_changed_and_nothing_drawn_where_all_is_off() -> None:
    x = pictures()
    assert degraded(x, NONE, Silent()) is x
    assert Degradation(blur=0.5, width=0, resample=0, noise=0, jpeg=0).still


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("one", ["blur", "resample", "noise", "jpeg"])
def test_each_alone_changes_every_picture_a_little(one: str, channels: int) -> None:
    x = pictures(5, channels=channels)
    alone = {"blur": 0.0, "resample": 0.0, "noise": 0.0, "jpeg": 0.0, one: 0.1 if one == "noise" else 1.0}
    made = degraded(x, Degradation(**alone), BatchNoise(stream(2)))
    moved = (made - x).square().flatten(1).mean(1).sqrt()
    assert made.shape == x.shape and made.abs().max() <= 1
    assert moved.min() > 0 and moved.max() < 0.2


def test_all_is_a_function_of_each_pictures_own_draws() -> None:
    """The same again; alone as in a batch; of two shares of a batch as of the whole."""
    x, how = pictures(4), Degradation()
    whole = degraded(x, how, PictureNoise(0, range(4)))
    assert torch.equal(whole, degraded(x, how, PictureNoise(0, range(4))))
    alone = torch.cat([degraded(x[i : i + 1], how, PictureNoise(0, [i])) for i in range(4)])
    torch.testing.assert_close(alone, whole, rtol=0, atol=1e-5)
    batch = degraded(x, how, BatchNoise(stream(3)))
    for rank in (0, 1):
        share = degraded(x[rank::2], how, BatchNoise(stream(3), rank, 2))
        torch.testing.assert_close(share, batch[rank::2], rtol=0, atol=1e-5)


def test_the_given_shares_are_changed() -> None:
    x = pictures(1).expand(300, -1, -1, -1)
    for one in ("blur", "resample", "jpeg"):
        how = Degradation(**{"blur": 0.0, "resample": 0.0, "noise": 0.0, "jpeg": 0.0, one: 0.3})
        changed = (degraded(x, how, BatchNoise(stream(4))) != x).flatten(1).any(1).float().mean()
        assert float(changed) == pytest.approx(0.3, abs=4 * (0.21 / 300) ** 0.5), one


def test_a_blur_is_a_gaussian_of_its_width() -> None:
    """A point spreads to the normal density, over what a blur reaches; width 0 leaves pictures alone."""
    x = torch.zeros(2, 1, 21, 21, dtype=torch.float64)
    x[..., 10, 10] = 1
    made = blurred(x, torch.tensor([[0.8, 1.5], [0.0, 0.0]], dtype=torch.float64))
    away = torch.arange(-10, 11, dtype=torch.float64)
    bells = [(-0.5 * (away / s) ** 2).exp() * (away.abs() <= RADIUS) for s in (0.8, 1.5)]
    down, across = (b / b.sum() for b in bells)
    torch.testing.assert_close(made[0, 0], down[:, None] * across)
    assert torch.equal(made[1], x[1])


def test_what_is_flat_stays_so() -> None:
    x = torch.full((3, 3, 12, 12), 0.25)
    torch.testing.assert_close(blurred(x, torch.full((3, 2), 1.3)), x)
    torch.testing.assert_close(resampled(x, torch.tensor([0, 1, 2])), x)
    x = pictures()
    assert torch.equal(resampled(x, torch.full((3,), -1)), x)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_gives_back_what_pillow_does(quality: int, channels: int) -> None:
    """But for its rounding to whole numbers between colour spaces, of which each is worth 0.9 levels."""
    x = to_tensor(to_array(pictures(1, channels=channels)[0]))
    file, array = io.BytesIO(), to_array(x)
    Image.fromarray(array.squeeze(-1) if channels == 1 else array).save(
        file, "JPEG", quality=quality, subsampling=0
    )
    theirs = np.asarray(Image.open(file)).astype(float).reshape(array.shape)
    ours = 127.5 * (compressed(x[None], torch.tensor([float(quality)]))[0].permute(1, 2, 0).numpy() + 1)
    lost = np.abs(array - theirs).mean()
    assert np.abs(ours - theirs).mean() < max(1.2, 0.35 * lost)
    assert np.abs(array - ours).mean() == pytest.approx(lost, rel=0.1, abs=0.2)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [({"blur": -0.1}, "blur is a share"), ({"jpeg": 2.0}, "jpeg is a share"), ({"width": 3.0}, "width is at")]
    + [({"noise": -1.0}, "its noise"), ({"quality": 0.0}, "its quality")],
)
def test_impossible_strengths_are_refused(wrong: dict[str, float], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Degradation(**wrong)
