"""The weights that did best on what is held back are those that a run ends with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from runs import dies_at, killed, settings, weights
from torch import nn

from redraft.core.types import Pair
from redraft.training import train
from redraft.training.best import EVERY, PATIENCE, Best, Measure
from redraft.training.progress import Outcome

CPU = torch.device("cpu")


def steps_since(start: torch.Tensor) -> Measure:
    """How far the first number of the weights has gone: a curve with its lowest point in mid-training."""
    return lambda method: abs(float(weights(method)[:200].sub(start[:200]).norm()) - 0.5)


def ran(
    out: Path, steps: int, resume: bool = False, batch_at: Callable[[int], Pair] = tiny.batch_at
) -> tuple:
    method = tiny.method()
    measure, seen = steps_since(weights(method)), {}

    def measured(m: nn.Module) -> float:
        value = measure(m)
        seen[value] = weights(m).clone()
        return value

    cfg = settings(steps=steps, ema={"solver": 0.0, "initializer": 0.0}, checkpoint_every=40)
    told: Outcome = train(method, batch_at, cfg, out, resume=resume, measure=measured)
    return method, told, seen


def test_a_run_ends_with_its_best_weights(tmp_path: Path) -> None:
    method, told, seen = ran(tmp_path / "run", 220)
    assert torch.equal(weights(method), seen[min(seen)])
    assert min(seen) < list(seen)[-1]
    assert not any(net.training for net in method.networks.values())
    assert any("are kept" in line for line in told.events)


def test_it_is_resumed_with_the_best_so_far(tmp_path: Path) -> None:
    whole, told, _ = ran(tmp_path / "whole", 220)
    out = tmp_path / "run"
    assert killed(lambda: ran(out, 220, batch_at=dies_at(170)))
    method, resumed, _ = ran(out, 220, resume=True)
    assert torch.equal(weights(method), weights(whole)) and resumed.steps == told.steps


@pytest.mark.parametrize(("values", "best"), [([3, 2, 1, 2, 3], 150), ([1, 2, 3], 50), ([3, 2, 1], 150)])
def test_the_lowest_value_counts(values: list[float], best: int) -> None:
    left = iter(values)
    net = nn.Linear(1, 1)
    found = Best(lambda method: next(left), CPU)
    for i in range(len(values)):
        with torch.no_grad():
            net.weight.fill_(values[i])
        found.look(net, EVERY * (i + 1))
    assert found.step == best and found.weights is not None
    assert float(found.weights["weight"]) == min(values)


def test_it_is_given_up_when_nothing_has_become_better_for_long() -> None:
    found = Best(lambda method: 1.0, CPU)
    found.look(nn.Linear(1, 1), 100)
    assert not found.given_up(PATIENCE * (100 + EVERY) - 1) and found.given_up(PATIENCE * (100 + EVERY))


def test_that_it_was_given_up_is_told() -> None:
    left, net = iter([1.0, 2.0, 2.0]), nn.Linear(1, 1)
    method = type("Method", (nn.Module,), {"networks": {"net": net}})()
    found = Best(lambda method: next(left), CPU)
    found.look(method, 50)
    assert "ends at step" not in str(found.settle(method, 100))
    assert "Training ends at step 300" in str(found.settle(method, 300))


def test_without_a_measure_nothing_is_looked_for() -> None:
    nothing = Best(None, CPU)
    nothing.look(nn.Linear(1, 1), 50)
    assert not nothing.due(50) and not nothing.given_up(10**6) and nothing.settle(nn.Linear(1, 1), 60) is None


def test_a_measure_that_is_no_number_is_never_the_best() -> None:
    values = iter([float("nan"), 2.0, float("nan")])
    found = Best(lambda method: next(values), CPU)
    for step in (50, 100, 150):
        found.look(nn.Linear(1, 1), step)
    assert found.step == 100
