"""Two processes do what one does with the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from runs import metrics, settings, weights
from torch import Tensor

import redraft
from redraft.training import train

TOLERANCE = 1e-5  # largest difference of a weight after 12 steps of Adam at 1e-3 and 2e-3


def alone(out: Path, *, resume: bool = False, **changes: object) -> Tensor:
    cfg = settings(**{"steps": 12, "checkpoint_every": 6, "clip": {"solver": 0.5}, **changes})
    method = tiny.method(wrong_conditions=0.0)
    train(method, tiny.batch_at, cfg, out, seed=3, resume=resume)
    return weights(method)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left; "one" and "one-split" were begun by one."""
    folder = tmp_path_factory.mktemp("processes")
    for name in ("one", "one-split"):
        alone(folder / name, steps=6)
    here, source = Path(__file__).parent, Path(redraft.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        + [str(here / "child.py"), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(here), str(source)])},
        check=True,
        timeout=120,
    )
    return folder


@pytest.mark.parametrize("name", ["two", "split"])
def test_the_weights_are_those_of_one_process(out: Path, tmp_path: Path, name: str) -> None:
    one = alone(tmp_path / "run")
    assert (one - weights(tiny.method())).abs().max() > 1000 * TOLERANCE  # it learnt something
    for rank in (0, 1):
        assert (torch.load(out / f"{name}.{rank}.pt") - one).abs().max() < TOLERANCE
    assert torch.equal(torch.load(out / f"{name}.0.pt"), torch.load(out / f"{name}.1.pt"))


def test_a_balance_of_slopes_is_the_same_where_weights_are_split(out: Path) -> None:
    """Slopes by a weight that FSDP2 has gathered for the pass; each process balances its own pictures."""
    whole, split = (torch.load(out / f"{name}.0.pt") for name in ("balance", "balance-split"))
    assert (whole - split).abs().max() < TOLERANCE
    assert torch.equal(split, torch.load(out / "balance-split.1.pt"))
    one, two = (metrics(out / name) for name in ("balance", "balance-split"))
    assert all(float(row["weight"]) > 0 for row in one)
    for a, b in zip(one, two, strict=True):
        assert float(a["weight"]) == pytest.approx(float(b["weight"]), rel=1e-4)


def test_one_journal_with_the_means_of_both(out: Path, tmp_path: Path) -> None:
    alone(tmp_path / "run")
    for one, two in zip(metrics(tmp_path / "run"), metrics(out / "two"), strict=True):
        for key in ("energy_data", "energy_refined", "loss_initializer", "gradient_solver"):
            assert float(two[key]) == pytest.approx(float(one[key]), abs=1e-4)


@pytest.mark.parametrize("name", ["one", "one-split"])
def test_two_go_on_from_the_checkpoint_of_one(out: Path, tmp_path: Path, name: str) -> None:
    alone(tmp_path / "run", steps=6)
    one = alone(tmp_path / "run", resume=True)
    assert (torch.load(out / f"{name}.0.pt") - one).abs().max() < TOLERANCE


@pytest.mark.parametrize("name", ["two", "split"])
def test_one_goes_on_from_the_checkpoint_of_two(out: Path, tmp_path: Path, name: str) -> None:
    alone(tmp_path / "run")
    one = alone(tmp_path / "run", steps=18, resume=True)
    two = alone(out / name, steps=18, resume=True)
    assert (one - two).abs().max() < TOLERANCE
