from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from redraft.evaluation import distances
from redraft.evaluation.distances import FewPictures, distance, frechet, kid, manifold, nearest


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mmd_by_loop(a: Tensor, b: Tensor) -> float:
    def k(x: Tensor, y: Tensor) -> float:
        return ((x @ y) / len(x) + 1).item() ** 3

    n, m = len(a), len(b)
    aa = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    bb = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    ab = sum(k(x, y) for x in a for y in b) / (n * m)
    return aa + bb - 2 * ab


def test_kid_is_the_unbiased_estimator() -> None:
    a, b = normal(9, 4), normal(13, 4, seed=1) + 0.5
    assert kid(a, b).value == pytest.approx(mmd_by_loop(a, b), rel=1e-9)


def test_kid_is_unbiased_and_its_interval_holds_the_truth() -> None:
    """Two laws whose distance is known by a large sample; 40 small samples of them."""
    truth = kid(normal(4000, 3, 1), normal(4000, 3, 2) * 1.3, rounds=2).value
    found = [kid(normal(60, 3, 10 + i), normal(60, 3, 1000 + i) * 1.3, seed=i) for i in range(40)]
    values = torch.tensor([f.value for f in found])
    assert abs(values.mean() - truth) < 3 * values.std() / 40**0.5
    assert sum(f.low <= truth <= f.high for f in found) >= 34  # 95 %, less what chance and small sets take


def test_kid_of_one_law_is_zero_within_its_interval() -> None:
    found = kid(normal(300, 16), normal(300, 16, seed=5))
    assert found.low < 0 < found.high


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = normal(50, 6), normal(41, 6, seed=1)
    whole = kid(a, b), manifold(a, b), nearest(a, b)
    monkeypatch.setattr(distances, "CHUNK", 7)
    small = kid(a, b), manifold(a, b), nearest(a, b)
    assert small[0] == pytest.approx(whole[0], rel=1e-9)
    for name in ("precision", "recall", "density", "coverage"):
        assert torch.equal(getattr(small[1], name), getattr(whole[1], name))
    assert torch.equal(small[2][1], whole[2][1])


@pytest.mark.parametrize("d", [1, 8, 32])
def test_frechet_is_the_matrix_square_roots(d: int) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = normal(200, d) @ normal(d, d, seed=7), normal(150, d, seed=1) * 1.5 + 0.3
    ca, cb = np.atleast_2d(np.cov(a.numpy().T)), np.atleast_2d(np.cov(b.numpy().T))
    gap = ((a.mean(0) - b.mean(0)) ** 2).sum().item()
    wanted = gap + np.trace(ca + cb - 2 * linalg.sqrtm(ca @ cb).real)
    assert frechet(a, b) == pytest.approx(wanted, rel=1e-7)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_of_few_pictures_is_that_of_many() -> None:
    """Columns turned into more dimensions than pictures change nothing, though it is computed otherwise."""
    a, b = normal(40, 6), normal(30, 6, seed=1) @ normal(6, 6, seed=2) + 0.3
    wider = torch.linalg.qr(normal(200, 6, seed=3))[0].T
    with pytest.warns(FewPictures):
        few = frechet(a @ wider, b @ wider)
    assert few == pytest.approx(frechet(a, b), rel=1e-9)
    with pytest.warns(FewPictures):
        assert frechet(a @ wider, a @ wider) == pytest.approx(0, abs=1e-9)


def test_frechet_of_few_pictures_warns_and_is_finite() -> None:
    with pytest.warns(FewPictures, match="10 pictures in 64 features"):
        value = frechet(normal(10, 64), normal(400, 64, seed=1))
    assert 0 < value < float("inf")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frechet(normal(100, 8), normal(100, 8, seed=1))


def test_manifold_against_loops() -> None:
    made, real, k = normal(30, 3) + 0.4, normal(25, 3, seed=1), 3

    def ball(x: Tensor, i: int) -> float:
        return sorted((x[i] - x[j]).norm().item() for j in range(len(x)) if j != i)[k - 1]

    gap = [[(f - r).norm().item() for r in real] for f in made]
    br, bf = [ball(real, j) for j in range(25)], [ball(made, i) for i in range(30)]
    m = manifold(made, real, k)
    assert m.precision.tolist() == [any(gap[i][j] <= br[j] for j in range(25)) for i in range(30)]
    assert m.recall.tolist() == [any(gap[i][j] <= bf[i] for i in range(30)) for j in range(25)]
    assert m.density.tolist() == pytest.approx(
        [sum(gap[i][j] <= br[j] for j in range(25)) / k for i in range(30)]
    )
    assert m.coverage.tolist() == [min(gap[i][j] for i in range(30)) <= br[j] for j in range(25)]


def test_manifold_knows_collapse_from_noise() -> None:
    real = normal(400, 8)
    alike, one, far = normal(400, 8, seed=1), normal(400, 8, seed=2) * 0.05, normal(400, 8, seed=3) + 9
    assert manifold(alike, real).coverage.mean() > 0.9 and 0.85 < manifold(alike, real).density.mean() < 1.15
    assert manifold(one, real).precision.mean() > 0.9 and manifold(one, real).recall.mean() < 0.1
    assert manifold(far, real).precision.mean() == 0 and manifold(far, real).coverage.mean() == 0


def test_small_distances_are_not_lost() -> None:
    x = normal(300, 4) + 1e6
    assert distance(x, x).diagonal().max() == 0
    assert distance(x, x + 1e-3).diagonal().tolist() == pytest.approx([2e-3] * 300, rel=1e-3)


def test_too_few_are_refused() -> None:
    for f in (kid, frechet, manifold):
        with pytest.raises(ValueError, match="two pictures"):
            f(normal(1, 3), normal(5, 3))


def test_nearest_against_all_distances() -> None:
    x, y = normal(40, 5) + 1e4, normal(70, 5, seed=1) + 1e4
    gap, index = nearest(x, y)
    torch.testing.assert_close(gap, distance(x, y).amin(1), rtol=1e-9, atol=0)
    assert torch.equal(index, distance(x, y).argmin(1))
    assert nearest(y[3:4], y)[0].item() == 0
