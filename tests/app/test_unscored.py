"""Where likelihoods say nothing of other pictures, no score is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from painting import Cli
from toys import IMAGE

from redraft.app.model import Model
from redraft.app.told import RESIDUAL, why_unscored
from redraft.recipes.modern import modern
from redraft.tasks.none import Nothing

pytestmark = pytest.mark.usefixtures("toys")


def test_a_flow_that_learnt_by_heart_tells_no_score(
    cli: Cli, class_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cli("generate", class_run, "ball", f"--out={tmp_path / 'a'}")
    norm = Model.from_pretrained(class_run, device="cpu").about[RESIDUAL]
    assert made.status == 0 and ("better than" in made.out) == (norm <= 2)
    opened = Model.from_pretrained

    def heart(*args: object, **more: object) -> Model:
        model = opened(*args, **more)  # type: ignore[arg-type]
        model.about = {**model.about, RESIDUAL: 12.0}
        return model

    monkeypatch.setattr(Model, "from_pretrained", staticmethod(heart))
    made = cli("generate", class_run, "ball", f"--out={tmp_path / 'b'}")
    assert made.status == 0 and "better than" not in made.out
    assert "learnt its pictures by heart" in made.out and "hold_back" in made.out and IMAGE not in made.out


def test_an_autoencoder_has_no_score_and_others_do() -> None:
    task = Nothing(size=16, channels=1)
    assert "no score" in (why_unscored(modern(task, "autoencoder", 100), {}) or "")
    assert why_unscored(modern(task, "coopnets", 100), {}) is None
    assert why_unscored(modern(task, "gan", 100), {RESIDUAL: 1.1}) is None
