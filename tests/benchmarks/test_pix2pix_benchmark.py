"""The benchmark of a pix2pix step runs, compares before it times, and takes a checkout for its port."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = ["--cases", "32x2", "--width", "4", "--rounds", "1"]


def run(*more: str) -> str:
    command = [sys.executable, str(BENCHMARKS / "pix2pix.py"), *SMALL, *more]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_it_compares_and_then_prints_its_table() -> None:
    told = run("--losers")
    differences = [float(d) for d in re.findall(r"losses differ by (\S+) at most", told)]
    assert len(differences) == 2 and differences[0] < 1e-9 and differences[1] < 1e-4
    rows = re.findall(r"^\| (.+) \| \d+ \| [\d.]+ \| \d+% \| ([\d.]+) \| [\d.]+ to [\d.]+ \|$", told, re.M)
    names = [name for name, _ in rows]
    assert names[0] == "as released" and "redraft" in names and len(names) == 6
    assert all(float(gain) > 0 for _, gain in rows) and float(rows[0][1]) == 1


def test_a_checkout_stands_in_for_the_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the repositories are laid out: a package with imports that fail here, and CUT's extra option."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import pix2pix
    import released

    for module in ("models", "models.networks"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise ImportError")
    (tmp_path / "models" / "networks.py").write_text(
        "import released\n"
        "class UnetGenerator(released.UnetGenerator): pass\n"
        "class NLayerDiscriminator(released.NLayerDiscriminator):\n"
        "    def __init__(self, *given, no_antialias=False):\n"
        "        assert no_antialias\n"
        "        super().__init__(*given)\n"
    )
    nets = pix2pix.networks(released.checkout(tmp_path), 32, 4)
    assert [type(net).__module__ for net in nets] == ["models.networks"] * 2
    c, x = torch.rand(2, 1, 3, 32, 32) * 2 - 1
    pix2pix.check("", pix2pix.variants(nets, 32, 4), c, x, times=1)
    for module in ("models", "models.networks"):
        monkeypatch.delitem(sys.modules, module)


def test_steps_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import pix2pix
    import released

    nets = pix2pix.networks(released.PORT, 32, 4)
    steps = pix2pix.variants(nets, 32, 4)
    c, x = torch.rand(2, 1, 3, 32, 32) * 2 - 1
    pix2pix.check("", steps, c, x, times=1)
    with torch.no_grad():
        nets[0].model.model[3].bias += 0.1
    ours = partial(pix2pix.Ours, pix2pix.networks(released.PORT, 32, 4), 32, 4, {})
    with pytest.raises(SystemExit, match="redraft is not the same step"):
        pix2pix.check("", {pix2pix.RELEASED: steps[pix2pix.RELEASED], "redraft": ours}, c, x, times=1)


def test_each_lever_is_taken_away_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import pix2pix
    import released
    from torch.nn import functional as F

    asked: list[str] = []
    for name in ("unfold", "fold", "instance_norm", "group_norm"):
        real = getattr(F, name)
        monkeypatch.setattr(
            F, name, lambda *a, _name=name, _real=real, **k: (asked.append(_name), _real(*a, **k))[1]
        )
    steps = pix2pix.variants(pix2pix.networks(released.PORT, 32, 32), 32, 32)
    c, x = torch.rand(2, 1, 3, 32, 32) * 2 - 1
    used: dict[str, set[str]] = {}
    for name, make in steps.items():
        asked.clear()
        make()(c, x)
        used[name] = set(asked)
    whole = {"unfold", "fold", "group_norm"}
    assert used["redraft"] == whole
    assert used["redraft, convolutions for all maps"] == {"group_norm"}
    assert used["redraft, torch's instance norm"] == whole - {"group_norm"} | {"instance_norm"}
    assert used["as released"] == used["as released, fused Adam"] == {"instance_norm"}


def test_what_a_step_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: a layer costs kernel x places for its map, for its kernel's gradient and for its input's.

    The first layers' inputs are data and take none, but for the made picture that teaches the generator.
    """
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import pix2pix
    import released

    generator, discriminator = nets = pix2pix.networks(released.PORT, 32, 4)
    c, x = torch.rand(2, 1, 3, 32, 32)
    flops, moved = pix2pix.needed(nets, c, x)
    kernels = [p.numel() for p in generator.parameters() if p.ndim == 4]
    halves = [16, 8, 4, 2, 1]  # both ways, a kernel meets the side of the smaller of its two maps
    g = [k * side**2 for k, side in zip(kernels, halves + halves[::-1], strict=True)]
    kernels = [p.numel() for p in discriminator.parameters() if p.ndim == 4]
    d = [k * side**2 for k, side in zip(kernels, [16, 8, 4, 3, 2], strict=True)]
    assert flops == 2 * (3 * sum(g) - g[0] + 2 * (3 * sum(d) - d[0]) + 2 * sum(d))
    assert moved == 40 * sum(p.numel() for p in generator.parameters())
