from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from redraft.evaluation.calibration import Calibration, rank_correlation
from redraft.evaluation.diversity import relative_spread, spread, variants_spread
from redraft.evaluation.memory import low, memory
from redraft.evaluation.table import mean_interval
from redraft.hub import load, part, save


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_better_than_is_the_share_of_real_pairs_with_higher_energy() -> None:
    known = Calibration.of(torch.tensor([4.0, 1.0, 2.0, 3.0]), None, None)
    asked = torch.tensor([0.0, 1.5, 2.0, 9.0])
    assert known.better_than(asked).tolist() == [1, 0.75, 0.625, 0]


def test_real_pairs_are_better_than_half_of_real_pairs() -> None:
    places = Calibration.of(normal(500), None, None).better_than(normal(500, seed=1))
    assert abs(places.mean() - 0.5) < 0.05
    assert abs((places < 0.25).double().mean() - 0.25) < 0.05


def smooth(n: int, seed: int) -> Tensor:
    return torch.nn.functional.interpolate(normal(n, 3, 4, 4, seed=seed), size=32, mode="bilinear").tanh()


def test_novelty_is_uniform_on_what_is_alike_and_flags_what_is_not() -> None:
    known = Calibration.of(normal(300), smooth(1000, 1), smooth(300, 2))
    again = known.novelty(smooth(300, 3))
    assert again is not None and abs(again.mean() - 0.5) < 0.06
    assert known.unlike(smooth(300, 3)).double().mean() < 0.04
    strange = torch.cat([torch.ones(1, 3, 32, 32), normal(1, 3, 32, 32).sign(), torch.zeros(1, 3, 32, 32)])
    assert known.unlike(strange)[:2].all()  # white, and noise, whose means alone would be plain grey


def test_categories_and_nothing_have_no_novelty() -> None:
    known = Calibration.of(normal(9), torch.arange(9), torch.arange(9))
    assert known.novelty(torch.arange(3)) is None and not known.unlike(torch.arange(3)).any()
    assert known.novelty(None) is None and known.better_than(torch.zeros(2)).shape == (2,)


def test_no_held_out_pairs_give_no_score() -> None:
    assert Calibration.of(torch.zeros(0), None, None).better_than(torch.zeros(2)).isnan().all()


def test_calibration_travels_in_a_bundle(tmp_path: Path) -> None:
    known = Calibration.of(normal(50), smooth(80, 1), smooth(50, 2))
    save(tmp_path / "m", {}, {f"calibration.{k}": v for k, v in known.tensors().items()}, "")
    again = Calibration.read(part(load(tmp_path / "m").tensors, "calibration"))
    asked = normal(20, seed=9)
    assert torch.equal(again.better_than(asked), known.better_than(asked))
    torch.testing.assert_close(again.novelty(smooth(9, 3)), known.novelty(smooth(9, 3)), atol=0.05, rtol=0)


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation_is_scipys(ties: bool) -> None:
    stats = pytest.importorskip("scipy.stats")
    a = normal(80).double()
    b = 0.5 * a + normal(80, seed=1)
    if ties:
        a, b = a.round(), b.round()
    found = rank_correlation(a, b)
    assert found.value == pytest.approx(stats.spearmanr(a.numpy(), b.numpy()).statistic, abs=1e-12)
    assert found.low < found.value < found.high
    assert 0.1 < found.high - found.low < 0.6


def test_rank_correlation_knows_monotone_maps_and_constants() -> None:
    a = normal(40)
    assert rank_correlation(a, a.exp()).value == pytest.approx(1)
    assert rank_correlation(a, -(a**3)).value == pytest.approx(-1)
    assert rank_correlation(a, torch.ones(40)).value != rank_correlation(a, torch.ones(40)).value  # NaN


def test_the_bootstraps_interval_is_the_normal_one() -> None:
    x = normal(400).double() * 2 + 5
    found = mean_interval(x)
    half = 1.96 * x.std().item() / 20
    assert found.value == pytest.approx(x.mean().item())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.15)


def test_spread_against_a_loop() -> None:
    x, groups = normal(7, 5), torch.tensor([0, 0, 0, 1, 1, 2, 0])
    means = []
    for g in (0, 1):
        mine = x[groups == g]
        gaps = [(a - b).norm().item() for i, a in enumerate(mine) for b in mine[i + 1 :]]
        means.append(sum(gaps) / len(gaps))
    assert spread(x, groups) == pytest.approx(sum(means) / 2, rel=1e-6)


def test_diversity_is_one_for_the_real_and_none_for_a_mean() -> None:
    real, groups = normal(200, 1, 6, 6), torch.arange(200) % 4
    assert relative_spread(normal(200, 1, 6, 6, seed=1), real, groups, groups) == pytest.approx(1, abs=0.05)
    assert relative_spread(real * 0.5, real, groups, groups) == pytest.approx(0.5)
    assert relative_spread(torch.zeros(200, 1, 6, 6), real, groups, groups) == 0


def test_variants_tell_an_ignored_z() -> None:
    real = normal(60, 12)
    one = real[:20, None].expand(-1, 4, -1)
    assert variants_spread(one, real).value == 0
    free = variants_spread(normal(20, 4, 12, seed=2), real)
    assert free.low < 1.02 and free.value == pytest.approx(1, abs=0.1)


def test_memory_finds_copies_and_lets_new_pictures_pass() -> None:
    train, test, new = (normal(400, 3, 16, 16, seed=s) for s in (1, 2, 3))
    nearly = train[:50] + 0.05 * normal(50, 3, 16, 16, seed=4)
    copied = memory(low(nearly), low(train), low(test))
    assert copied.copy.mean() == 1 and copied.closer.mean() == 1
    assert torch.equal(copied.index, torch.arange(50))
    fresh = memory(low(new), low(train), low(test))
    assert fresh.copy.mean() < 0.05 and abs(fresh.closer.mean() - 0.5) < 0.06


def test_few_held_out_energies_are_not_reliable() -> None:
    assert not Calibration.of(torch.arange(19.0), None, None).reliable
    assert Calibration.of(torch.arange(20.0), None, None).reliable
