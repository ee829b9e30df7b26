from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.conftest import shared_data
from torch import Tensor
from torch.nn import functional as F

from redraft.core.errors import RedraftError
from redraft.data import Cache, embedded
from redraft.evaluation.distances import kid
from redraft.evaluation.features import EfficientNetLite, Features, SmallFeatures
from redraft.evaluation.lpips import Lpips
from redraft.sampling.langevin import blur


@pytest.fixture(scope="module")
def small() -> SmallFeatures:
    return SmallFeatures()


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, Tensor]:
    """The embedded test pictures [2000, 1, 28, 28] and their categories."""
    store = Cache(tmp_path_factory.mktemp("cache")).build(embedded("fashion"), "test", size=28)
    return torch.from_numpy(store.target.copy()).float() / 127.5 - 1, torch.from_numpy(store.category.copy())


def noisy(x: Tensor, sd: float) -> Tensor:
    return (x + sd * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)


def soft(x: Tensor, times: int) -> Tensor:
    for _ in range(times):
        x = blur(x)
    return x


def shoes() -> Tensor:
    from PIL import Image

    from redraft.core.images import to_tensor

    pictures = []
    for file in sorted(shared_data("edges2shoes_120").glob("*/*.jpg")):
        photo = Image.open(file).convert("RGB").crop((256, 0, 512, 256)).resize((64, 64))
        import numpy as np

        pictures.append(to_tensor(np.asarray(photo)))
    return torch.stack(pictures)


def assert_monotone(features: Features, known: Tensor, new: Tensor) -> None:
    """More blur and more noise are farther away; other real pictures are not far at all."""
    wanted = features(known)

    def far(x: Tensor) -> float:
        return kid(features(x), wanted, rounds=2).value

    real = kid(features(new), wanted)
    assert real.low < 0.02
    blurred, noise = [far(soft(new, k)) for k in (1, 2, 4)], [far(noisy(new, s)) for s in (0.1, 0.2, 0.4)]
    for harmed in (blurred, noise):
        assert real.value < harmed[0] < harmed[1] < harmed[2]


def test_features_have_any_size_and_grey_is_rgb(small: SmallFeatures) -> None:
    for size in (1, 7, 28, 64, 100):
        x = torch.rand(2, 1, size, size) * 2 - 1
        h = small(x)
        assert h.shape == (2, 128) and h.isfinite().all()
        torch.testing.assert_close(small(x.expand(-1, 3, -1, -1)), h)


def test_features_do_not_depend_on_the_batch(small: SmallFeatures) -> None:
    x = torch.rand(130, 1, 28, 28) * 2 - 1
    torch.testing.assert_close(small(x)[77:78], small(x[77:78]), atol=1e-4, rtol=1e-4)


def test_small_features_are_monotone_on_fashion(small: SmallFeatures, fashion: tuple[Tensor, Tensor]) -> None:
    x, y = fashion[0][:600], fashion[1][:600]
    assert_monotone(small, x[:300], x[300:])
    wanted, bags = small(x[:300]), x[300:][y[300:] == 8]
    swapped = [x[300:].clone() for _ in range(3)]
    for share, pictures in zip((30, 90, 200), swapped, strict=True):  # more and more of one category
        pictures[:share] = bags.repeat(10, 1, 1, 1)[:share]
    far = [kid(small(p), wanted, rounds=2).value for p in swapped]
    assert kid(small(x[300:]), wanted, rounds=2).value < far[0] < far[1] < far[2]


def test_small_features_see_a_grid(small: SmallFeatures, fashion: tuple[Tensor, Tensor]) -> None:
    x = fashion[0][:400]
    comb = (torch.arange(28) % 2).float() * 2 - 1
    gridded = (x[200:] + 0.1 * comb * comb[:, None]).clamp(-1, 1)
    assert kid(small(gridded), small(x[:200])).low > kid(small(x[200:]), small(x[:200])).high


def test_small_features_are_monotone_on_shoes(small: SmallFeatures) -> None:
    x = shoes()
    assert_monotone(small, x[::2], x[1::2])


def test_efficientnet_is_an_extra_that_orders_noise() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    features = EfficientNetLite()
    x = shoes()[:40]
    h = features(x)
    assert h.shape == (40, 1280)
    gaps = [(features(noisy(x, s)) - h).norm(dim=1).mean() for s in (0.05, 0.2, 0.5)]
    assert 0 < gaps[0] < gaps[1] < gaps[2]


def lpips() -> Lpips:
    found = Lpips.find(shared_data("..", "weights", "lpips_alex", "lpips_alexnet.safetensors"))
    assert found is not None
    return found


def test_lpips_is_a_distance_that_grows_with_harm() -> None:
    net, x = lpips(), shoes()[:8]
    assert net(x, x).abs().max() == 0
    torch.testing.assert_close(net(x, soft(x, 2)), net(soft(x, 2), x))
    gaps = [net(x, soft(x, k)).mean() for k in (1, 2, 4, 8)]
    assert gaps == sorted(gaps) and gaps[0] > 0
    # what it is for: a shift by a pixel is less than a blur of the same squared error
    shifted = F.pad(x, (1, 0, 0, 0), mode="replicate")[..., :-1]
    assert net(x, shifted).mean() < net(x, x.roll(1, 0)).mean() / 3
    assert net(x[:, :1, :28, :28], x[:, :1, :28, :28]).shape == (8,)


def test_lpips_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDRAFT_LPIPS", raising=False)
    assert Lpips.find() is None
    (tmp_path / "wrong").write_bytes(b"no")
    monkeypatch.setenv("REDRAFT_LPIPS", str(tmp_path / "wrong"))
    with pytest.raises(RedraftError, match="does not hold LPIPS"):
        Lpips.find()
