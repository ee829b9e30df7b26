"""Modes are counted right on planted samples, and all ways of a pair cost what the table says."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType

import pytest
import torch
from scipy import stats
from torch import Tensor

from redraft.core.rng import stream

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import modes

    return modes


def told_by_brightness(x: Tensor) -> Tensor:
    return x.mean((1, 2, 3)).round().long()


def triples(labels: Tensor) -> Tensor:
    """Labels [N, 3] -> pictures whose channels are as bright as their label."""
    return labels[:, :, None, None].expand(-1, -1, 28, 28).float()


def test_real_points_find_every_mode_and_are_good_as_often_as_the_law_says(modes: ModuleType) -> None:
    points = modes.Points(1)
    score = points.score(points.real(20_000, stream(0)))
    assert score["modes"] == score["filled"] == 25
    assert score["good"] == pytest.approx(1 - math.exp(-4.5), abs=4 * math.sqrt(0.011 / 20_000))


def test_a_mode_is_found_by_one_good_point_and_filled_by_a_fifth_of_its_share(modes: ModuleType) -> None:
    from laws import GRID, SPREAD

    x = torch.cat(
        [GRID[:1].expand(80, -1), GRID[1:2].expand(19, -1), GRID[2:3] + torch.tensor([0, 4 * SPREAD])]
    )
    score = modes.Points(1).score(x[:, :, None, None].expand(-1, -1, 1, 1).repeat(25, 1, 1, 1))
    assert score["modes"] == 2 and score["filled"] == 2 and score["good"] == pytest.approx(0.99)
    few = torch.cat([x[:80].repeat(31, 1), x[80:99]])  # 2,499 points: 19 of them in the second mode
    assert modes.Points(1).score(few[:, :, None, None])["filled"] == 1


def test_divergence_and_modes_of_planted_stacks(modes: ModuleType) -> None:
    from laws import Stacked

    problem = Stacked(1, torch.zeros(1, 28, 28), told_by_brightness)
    every = torch.cartesian_prod(*[torch.arange(10)] * 3)
    for labels, found in ((every, 1000), (every[:500], 500), (every[123:124].repeat(7, 1), 1)):
        score = problem.score(triples(labels))
        assert score["modes"] == found
        assert score["kl"] == pytest.approx(math.log(1000 / found), abs=1e-12)
    assert problem.score(triples(torch.tensor([[1, 2, 3], [3, 2, 1]])))["modes"] == 2


def test_real_stacks_are_three_digits_drawn_apart(modes: ModuleType) -> None:
    from laws import Stacked

    problem = Stacked(1, torch.arange(10.0)[:, None, None].expand(-1, 28, 28), told_by_brightness)
    score = problem.score(problem.real(20_000, stream(0)))
    assert score["modes"] == 1000 and score["kl"] == pytest.approx(999 / 40_000, rel=0.2)  # chi-squared


def test_the_cooperative_stage_is_paid_for_with_adversarial_steps(
    modes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes, "price", lambda *pair: 2.5)
    problem = modes.Points(25)
    loss = next(iter(problem.settings))
    plain, _ = modes.run(problem, modes.Arm(loss, "2 x 64", 0, 0.0))
    scores, made = modes.run(problem, modes.Arm(loss, "2 x 64", 0, 0.4))
    assert plain["steps"] == 25 and plain["first_steps"] == plain["first_seconds"] == 0
    assert scores["first_steps"] == 4 and scores["steps"] == 15 + 4  # 4 x 2.5 = 40 % of 25
    assert 0 < scores["first_seconds"] < scores["seconds"] and made.shape == (2500, 2, 1, 1)


def test_the_meter_sees_as_many_steps_of_each_stage_as_were_asked_for(modes: ModuleType) -> None:
    problem = modes.Points(1)
    arm = modes.Arm(next(iter(problem.settings)), "2 x 64", 0, 0.5)
    _, meter = modes.learn(problem, arm, 20, 7)
    assert meter.stages == ["cooperative"] * 7 + ["adversarial"] * 13
    assert len(meter.spent(True)) == 7 and len(meter.spent(False)) == 12 and min(meter.spent(True)) > 0


def test_runs_that_are_there_are_not_made_again(
    modes: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    problem = modes.Points(3)
    arm = modes.Arm(next(iter(problem.settings)), "2 x 64", 0, 0.0)
    first = modes.kept(tmp_path, problem, arm)
    monkeypatch.setattr(modes, "run", None)
    assert modes.kept(tmp_path, problem, arm) == first


def test_the_table_gives_differences_of_pairs_with_their_t_interval(modes: ModuleType) -> None:
    problem, gains = modes.Points(1), iter([1.0, 2.0, 6.0] * 4)
    results = {}
    for arm in sorted(
        modes.arms(problem, [0, 1, 2], [0.1]), key=lambda a: (a.loss, a.network, a.seed, a.share)
    ):
        base = {
            "filled": 0.0,
            "good": 0.5,
            "steps": 9.0,
            "seconds": 4.0,
            "first_steps": 1.0,
            "first_seconds": 1.0,
        }
        results[arm] = base | {"modes": 7.0 + 5 * arm.seed + (next(gains) if arm.share else 0)}
    text = modes.table(problem, results, [0, 1, 2], [0.1])
    half = stats.t.ppf(0.975, 2) * stats.sem([1.0, 2.0, 6.0])
    assert text.count(f"|+3 ± {half:.2g}|") == 4 and "1 steps, 1.0 s (25.0%)" in text
    pooled = stats.t.ppf(0.975, 11) * stats.sem([1.0, 2.0, 6.0] * 4)
    assert f"|*difference of CoopInit 10%*|+3 ± {pooled:.2g}|" in text


def test_students_t_is_scipys(modes: ModuleType) -> None:
    for n, value in modes.T.items():
        assert value == pytest.approx(stats.t.ppf(0.975, n - 1), rel=1e-3)
