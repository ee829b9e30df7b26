"""What an autoencoder loses: against errors that are known, and beside controls."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from redraft.core.rng import stream
from redraft.evaluation.features import SmallFeatures
from redraft.evaluation.paired import ssim
from redraft.evaluation.perceptual import SmallDistance
from redraft.evaluation.reconstruction import NEAREST_PICTURE, OURS, reconstruction


class Averages:
    """Features that can be worked out: mean and standard deviation of a picture."""

    name = "averages"

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).mean(1), x.flatten(1).std(1)], 1)


def pictures(n: int, seed: int) -> Tensor:
    """Planes that rise in some direction, each with a light of its own."""
    g = stream(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    a, b, c = (torch.rand(n, 1, 1, 1, generator=g) * 0.6 - 0.3 for _ in range(3))
    return (a * x + b * y + c).clamp(-1, 1)


TRAIN, TEST = pictures(40, 0), pictures(20, 1)


def test_a_known_error() -> None:
    made = reconstruction(
        lambda x: x + 0.02, TRAIN, TEST, Averages(), lambda a, b: (a - b).flatten(1).mean(1)
    )
    cells = made.rows[OURS]
    assert cells["PSNR"].value == pytest.approx(40.0, abs=1e-4)
    assert cells["PSNR"].low == pytest.approx(cells["PSNR"].high, abs=1e-4)
    assert cells["SSIM"].value == pytest.approx(ssim(TEST + 0.02, TEST).mean().item())
    assert cells["LPIPS"].value == pytest.approx(0.02, abs=1e-6)
    spread = Averages()(TEST).double().var(0).sum().sqrt()
    assert cells["distance (averages)"].value == pytest.approx(0.02 / spread.item(), rel=1e-4)
    assert cells["Fréchet (averages)"].value == pytest.approx(0.02**2, rel=1e-3)
    assert made.pictures == 20 and [m.name for m in made.measures] == list(cells)
    torch.testing.assert_close(made.shown, TEST + 0.02)


def test_intervals_hold_the_value_and_narrow_with_pictures() -> None:
    def noisy(x: Tensor) -> Tensor:
        return x + 0.1 * torch.rand(len(x), 1, 1, 1, generator=stream(3))

    wide = reconstruction(noisy, TRAIN, TEST, Averages()).rows[OURS]["PSNR"]
    narrow = reconstruction(noisy, TRAIN, pictures(400, 2), Averages()).rows[OURS]["PSNR"]
    assert wide.low < wide.value < wide.high
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)


def test_controls_are_what_they_say() -> None:
    made = reconstruction(lambda x: x, TRAIN, TEST, Averages())
    assert list(made.rows) == [OURS, "mean picture", NEAREST_PICTURE, "real, training"]
    mean = TRAIN.mean(0, keepdim=True)
    error = (mean - TEST).double().flatten(1).square().mean(1).sqrt()
    by_hand = (20 * (2 / error).log10()).mean().item()
    assert made.rows["mean picture"]["PSNR"].value == pytest.approx(by_hand, abs=1e-6)
    gap = torch.cdist(TEST.flatten(1), TRAIN.flatten(1))
    near = TRAIN[gap.argmin(1)]
    error = (near - TEST).double().flatten(1).square().mean(1).sqrt()
    by_hand = (20 * (2 / error).log10()).mean().item()
    assert made.rows[NEAREST_PICTURE]["PSNR"].value == pytest.approx(by_hand, abs=1e-6)
    assert list(made.rows["real, training"]) == ["Fréchet (averages)"]
    assert made.rows[OURS]["Fréchet (averages)"].value == pytest.approx(0, abs=1e-12)


def test_the_sentence_tells_an_autoencoder_from_one_that_has_learnt_nothing() -> None:
    good = reconstruction(lambda x: x + 0.001, TRAIN, TEST, Averages()).says()
    assert "PSNR 66.0" in good and "truer than that" in good
    bad = reconstruction(lambda x: TRAIN[:1].expand_as(x), TRAIN, TEST, Averages()).says()
    assert "nearest training picture" in bad and "train longer" in bad


def test_two_pictures_are_the_least() -> None:
    with pytest.raises(ValueError, match="two"):
        reconstruction(lambda x: x, TRAIN, TEST[:1], Averages())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_small_distance_is_that_of_unit_vectors(channels: int) -> None:
    """Against the package's network run as it is, in its own way."""
    net = SmallFeatures().net
    x, y = (torch.rand(3, channels, 28, 28, generator=stream(s)) * 2 - 1 for s in (0, 1))

    def maps(h: Tensor) -> list[Tensor]:
        h, taken = h.expand(-1, 3, -1, -1), []
        for stage in net.stages:
            h = stage(h)
            taken.append(h / (h.square().sum(1, keepdim=True) + 1e-6).sqrt())
        return taken

    by_hand = sum((a - b).square().sum(1).mean((1, 2)) for a, b in zip(maps(x), maps(y), strict=True)) / 4
    torch.testing.assert_close(SmallDistance()(x, y), by_hand, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(SmallDistance()(x, x), torch.zeros(3), atol=1e-5, rtol=0)


def test_the_small_distance_has_a_slope_in_its_first_picture_alone() -> None:
    x, y = (torch.rand(2, 1, 28, 28, generator=stream(s)).requires_grad_() for s in (0, 1))
    far = SmallDistance()
    far(x, y).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0 and y.grad is None
    assert not any(p.requires_grad for p in far.stages.parameters())
