"""A run is plain values, a recipe is a function, and the matrix says why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from redraft.app.examples import batches, store
from redraft.core.errors import UsageError
from redraft.data import embedded
from redraft.methods import METHODS
from redraft.recipes import RECIPES, Run, build
from redraft.recipes.matrix import matrix, method_for, why_not
from redraft.tasks import TASKS
from redraft.tasks.category import CategoryToPicture
from redraft.tasks.labels import LabelsToPhoto
from redraft.tasks.none import Nothing
from redraft.tasks.recover import Recover
from redraft.tasks.task import Task
from redraft.tasks.unpaired import Unpaired
from redraft.tasks.upscale import Upscale
from redraft.training import train

SUBJECTS = {
    "none": Nothing(size=32, channels=3),
    "category": CategoryToPicture(size=28, channels=1, names=("a", "b")),
    "labels": LabelsToPhoto(size=32, channels=3, classes=3, palette=((0, 0, 0), (9, 9, 9), (255, 0, 0))),
    "recover": Recover(size=64, channels=1, holes="strokes"),
    "upscale": Upscale(size=32, channels=3, factor=2),
}


CELLS = [
    (recipe, method, name)
    for recipe in RECIPES
    for name in SUBJECTS
    for method in METHODS
    if why_not(method, name) is None and recipe != "fast" and (recipe, method) != ("classic", "fusion")
]  # the paper's fusion makes vectors, not pixels


@pytest.mark.parametrize(("recipe", "method", "name"), CELLS)
def test_a_run_survives_its_file(name: str, method: str, recipe: str, tmp_path: Path) -> None:
    import yaml

    run = RECIPES[recipe](SUBJECTS[name], method, 500, 3)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run.to_dict()))
    assert Run.from_dict(yaml.safe_load((tmp_path / "run.yaml").read_text())) == run


@pytest.mark.parametrize(("recipe", "method", "name"), [c for c in CELLS if c[0] == "modern"])
def test_build_depends_on_the_run_alone(name: str, method: str, recipe: str) -> None:
    run = RECIPES[recipe](SUBJECTS[name], method, 500, 3)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = build(run).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    other = build(run).state_dict()
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_every_task_has_a_method_and_every_empty_cell_a_reason() -> None:
    cells = matrix()
    assert set(cells) == set(METHODS) and all(set(row) == set(TASKS) for row in cells.values())
    for task in TASKS:
        assert any(row[task] is None for row in cells.values())
    reasons = [reason for row in cells.values() for reason in row.values() if reason]
    assert all(any(nearest in r for nearest in METHODS) for r in reasons)
    assert why_not("coopnets", "none") is None
    with pytest.raises(UsageError, match="cannot do task labels"):
        method_for("labels", "coopnets")


def test_settings_are_overridden_by_section_and_unknown_ones_name_their_nearest() -> None:
    run = RECIPES["modern"](SUBJECTS["recover"], "ccoopnets", 500, 0)
    changed = run.override(["method.langevin.steps=9", "task.holes=pixels", "train.lr.solver=1e-4"])
    assert changed.method.langevin.steps == 9 and changed.train.lr["solver"] == 1e-4
    assert isinstance(changed.task, Recover) and changed.task.holes == "pixels"
    assert run.method.langevin.steps != 9
    for line, says in (
        ("method.langevin.stepz=9", "method.langevin.steps"),
        ("netwroks.z=3", "networks"),
        ("task.holes=round", "known"),
        ("train.lr.initialiser=1", "train.lr"),
    ):
        with pytest.raises(UsageError, match=says):
            run.override([line])


def quick(task: Task, seed: int, steps: int, out: Path, name: str) -> list[str]:
    """Train on embedded pictures; what the watchdog had to say."""
    folder = embedded(name)
    method = "ccoopnets"
    run = RECIPES["modern"](task, method, len(folder.examples["train"]), seed).override(
        [f"train.steps={steps}"]
    )
    data = store(folder, "train", run, margin=True)
    device = torch.device("cpu")
    outcome = train(build(run), batches(data, run, device), run.train, out, seed=seed, config=run.to_dict())
    return list(outcome.events)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_modern_does_not_diverge_on_the_embedded_pictures(seed: int, tmp_path: Path) -> None:
    fashion = CategoryToPicture.of(embedded("fashion"), 28)
    assert quick(fashion, seed, 400, tmp_path / "fashion", "fashion") == []
    emoji = TASKS["edges"].of(embedded("emoji"), 64)
    assert quick(emoji, seed, 150, tmp_path / "emoji", "emoji") == []


def test_networks_that_a_method_cannot_use_are_refused() -> None:
    unpaired = RECIPES["modern"](SUBJECTS["upscale"], "pix2pix", 500, 0)
    with pytest.raises(UsageError, match="published U-Net"):
        build(unpaired.override(["networks.dropout=true"]))
    cut = RECIPES["modern"](Unpaired(size=32, channels=3), "cut", 500, 0)
    with pytest.raises(UsageError, match="leave networks.initializer at cut"):
        build(cut.override(["networks.initializer=modern"]))
    gan = RECIPES["modern"](SUBJECTS["category"], "gan", 500, 0)
    with pytest.raises(UsageError, match="wrong_conditions=0"):
        build(gan.override(["method.loss=wasserstein"]))
    with pytest.raises(UsageError, match="adversarial methods gan, pix2pix and cut"):
        RECIPES["modern"](SUBJECTS["none"], "coopnets", 500, 0).override(["coopinit.share=0.1"])
