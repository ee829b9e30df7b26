"""The benchmark of the flow compares before it times, and notices a flow that is another one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("FrEIA")
pytest.importorskip("zuko")

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_it_compares_and_then_prints_its_tables() -> None:
    small = ["--cases", "2x8x1x6x4", "--rounds", "1"]
    result = subprocess.run(
        [sys.executable, str(BENCHMARKS / "flow.py"), *small], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    (difference,) = re.findall(r"samples differ by (\S+) at most", result.stdout)
    assert float(difference) < 1e-5
    rows = re.findall(r"^\| (.+) \| [\d.]+ \| [\d.]+ \| \d+% \| ([\d.]+) \|", result.stdout, re.M)
    assert [name for name, _ in rows] == 3 * ["redraft", "FrEIA", "zuko"] + ["FrEIA, fused Adam"]
    assert all(float(gain) > 0 for _, gain in rows)


@pytest.mark.parametrize("peer", ["FrEIA", "zuko"])
def test_the_libraries_tell_the_flows_own_likelihood(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In double precision, for weights of any kind: an independent check of the flow, too."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import flow as benchmark

    for double in (torch.float32, torch.float64):
        spec = benchmark.Spec(size=1, channels=6, condition="vector", width=6)
        net = benchmark.Flow(spec, benchmark.FlowConfig(blocks=3, width=8, embed=6))
        for name, p in net.named_parameters():
            if "last" in name:
                torch.nn.init.normal_(p, 0, 0.5)
        torch.set_default_dtype(double)
        try:
            make = {"FrEIA": benchmark.freia, "zuko": benchmark.zuko}[peer]
            net = net.to(double)
            subjects = {"redraft": benchmark.ours(net), peer: make(net)}
            x, h = torch.randn(2, 5, 6)
            told = [s.likelihood(x, h) for s in subjects.values()]
        finally:
            torch.set_default_dtype(torch.float32)
        torch.testing.assert_close(*told)
        assert "differ by" in benchmark.check("", subjects, x, h)
        with torch.no_grad():
            net.levels[0].read.weight.add_(0.1)
        with pytest.raises(SystemExit, match=f"{peer} is not the same flow"):
            benchmark.check("", subjects, x, h)
