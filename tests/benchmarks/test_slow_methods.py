"""What tables of slow methods are made of: means over seeds, each way of guidance once, pieces of photos."""

from __future__ import annotations

import random
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from redraft.evaluation.table import Interval

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("benchmarks", "scripts"):
        monkeypatch.syspath_prepend(str(ROOT / folder))


def test_a_cell_is_the_mean_over_seeds_and_their_range() -> None:
    over_seeds = import_module("one_draw").over_seeds
    assert over_seeds([Interval(1.0, 0.5, 1.5), Interval(2.0, 1.5, 2.5)]) == "1.50 [1.00, 2.00] (1 to 2)"
    assert over_seeds([Interval(1.0, 0.5, 1.5)]) == "1.00 [0.500, 1.50]"


def test_without_guidance_there_are_no_moments_to_treat() -> None:
    settings = list(import_module("guidance").settings())
    assert settings[0] == (0.0, "empirical") and len(settings) == len(set(settings)) == 13
    assert {moments for w, moments in settings if w == 3} == {"empirical", "none", "analytic"}


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (7, 7)])
def test_pieces_lie_within_the_photo(size: tuple[int, int]) -> None:
    squares = import_module("crops").squares
    made = list(squares(size, 50, 0.5, True, random.Random(0)))
    whole, short = made[0], min(size)
    assert whole == ((size[0] - short) // 2, (size[1] - short) // 2, short) and len(made) == 51
    for left, top, side in made:
        assert short // 2 <= side <= short
        assert 0 <= left <= size[0] - side and 0 <= top <= size[1] - side


def test_pieces_are_decided_by_names_and_seed_and_are_not_cut_again(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "photos" / "a.png")

    def cut(out: str, *more: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, str(ROOT / "scripts" / "crops.py"), str(tmp_path / "photos"), *more]
        return subprocess.run(
            [*line, "--out", str(tmp_path / out), "--pieces", "3"], capture_output=True, text=True
        )

    assert cut("one").returncode == cut("two").returncode == cut("other", "--seed", "1").returncode == 0
    one, two, other = (
        [p.read_bytes() for p in sorted((tmp_path / d).iterdir())] for d in ("one", "two", "other")
    )
    assert len(one) == 3 and one == two != other
    assert cut("photos").returncode == 2 and len(list((tmp_path / "photos").iterdir())) == 1
