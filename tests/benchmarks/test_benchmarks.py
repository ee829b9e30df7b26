"""The benchmark runs, its variants agree before they are timed, and it would notice if they did not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_it_runs_and_prints_its_tables() -> None:
    small = ["--size=16", "--batch=2", "--steps=1", "--rounds=1"]
    result = subprocess.run(
        [sys.executable, str(BENCHMARKS / "langevin.py"), *small], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    rows = re.findall(
        r"^\| redraft \| \d+ \| [\d.]+ \| \d+% \| ([\d.]+) \| ([\d.]+) \|$", result.stdout, re.M
    )
    assert len(rows) == 3 and all(float(gain) > 0 for row in rows for gain in row)
    assert result.stdout.count("MiB") == 2


def test_variants_that_disagree_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import langevin

    _, chains, x, flops = langevin.picture_chains(16, 2)
    langevin.check("", chains, x)
    assert flops > 0
    wrong = {**chains, "redraft": lambda x, *rest: chains["redraft"](x, *rest) + 1e-3 * torch.randn_like(x)}
    with pytest.raises(SystemExit, match="redraft does not make the same step"):
        langevin.check("", wrong, x)


def test_the_naive_way_fills_every_weights_gradient_and_ours_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import langevin

    _, chains, x, _ = langevin.category_chains(2)
    solver = chains["redraft"].args[0]
    chains["redraft"](x, 1, 0.002, 0.016)
    assert all(p.grad is None for p in solver.parameters())
    chains["naive (.backward)"](x, 1, 0.002, 0.016)
    assert all(p.grad is not None for p in solver.parameters())
