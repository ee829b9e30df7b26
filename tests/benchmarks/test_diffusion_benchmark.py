"""The benchmark of diffusion compares before it times, and notices a step or pictures that are others."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

pytest.importorskip("diffusers")

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import diffusion

    return diffusion


def tiny(bench: ModuleType) -> object:
    return bench.prepared(8, 1, 4, bench.DenoiserConfig(channels=(16, 16), patch=2, attention=4, tokens=16))


def test_the_scripts_step_is_redrafts(bench: ModuleType) -> None:
    """Three steps in double precision: noising, target, clipping and Adam, against diffusers' own."""
    case = tiny(bench)
    told = bench.losses(bench.training(case.double(), decay=0.0), 3)  # type: ignore[attr-defined]
    assert "differ by" in bench.check("", told, 1e-9)
    assert told["redraft"].unique().numel() == 3  # it has learnt, and drawn anew
    decayed = bench.losses(bench.training(case.double(), decay=100.0), 3)  # type: ignore[attr-defined]
    decayed["redraft"] = told["redraft"]
    with pytest.raises(SystemExit, match="redraft is not the same"):
        bench.check("", decayed, 1e-9)


def test_all_ways_make_the_pipelines_pictures(bench: ModuleType) -> None:
    case = tiny(bench)
    made = {name: work() for name, work in bench.sampling(case, 4).items()}
    kept = made.pop(bench.DEFAULT)
    assert "differ by" in bench.check("", made, 1e-4)
    assert not torch.allclose(kept, made["redraft"], atol=1e-3)
    with pytest.raises(SystemExit, match="moments kept is not the same"):
        bench.check("", {**made, bench.DEFAULT: kept}, 1e-4)


def test_its_tables_name_every_way(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    case = tiny(bench)
    steps = {name: make() for name, make in bench.training(case, losers=True).items()}
    flops = bench.needed(steps["redraft"])
    assert flops == bench.needed(steps["diffusers' script"]) > 0  # the very same work
    bench.table("training step", steps, flops, 100.0, 1)
    works = bench.sampling(case, 2, losers=True)
    assert bench.needed(works["redraft"]) == bench.needed(works["two passes"])
    bench.table("pictures", works, 1, 100.0, 1)
    told = capsys.readouterr().out
    assert all(f"| {name} |" in told for name in (*steps, *works))
