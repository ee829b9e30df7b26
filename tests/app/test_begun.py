"""Runs that are found in their default folder, and runs that learn from a share of the pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from redraft.app.begun import begun_run, default_place, default_run, keep_told, told_of
from redraft.app.check import open_folder
from redraft.app.examples import store
from redraft.app.train import checked, plan, settle, train
from redraft.core.errors import CheckpointError, UsageError
from redraft.nets.foreign import Foreign
from redraft.recipes import RECIPES, Run
from redraft.recipes.prior import Prior
from redraft.tasks import TASKS


def run_of(method: str, task: str) -> Run:
    more = {} if task == "colour" else {"channels": 3}
    made = TASKS[task](size=32, **more)  # type: ignore[call-arg,arg-type]
    return RECIPES["modern"](made, "ccoopnets" if method == "solver" else method, 40)


def begun(run: Run, place: Path) -> Path:
    """The folder of a run with a checkpoint, as far as its names tell."""
    (place / "checkpoints").mkdir(parents=True)
    (place / "checkpoints" / "step_00000001.1.0123456789abcdef.pt").touch()
    (place / "run.yaml").write_text(yaml.safe_dump({**run.to_dict(), "data": "0"}))
    return place


def test_the_one_run_that_can_be_gone_on_with_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_run("some/discs/", None, "piti") is None
    colour = begun(run_of("piti", "colour"), default_place("discs", "colour", "piti"))
    begun(run_of("pix2pix", "colour"), default_place("discs", "colour", "pix2pix"))
    default_place("discs", "upscale", "piti").mkdir()  # nothing is learnt there
    found = default_run("some/discs/", None, "piti")
    assert found == (colour, run_of("piti", "colour"))
    edges = begun(run_of("piti", "edges"), default_place("discs", "edges", "piti"))
    with pytest.raises(UsageError, match=f"any of .*{edges}.* with --out, or its --task"):
        default_run("discs", None, "piti")
    assert default_run("discs", "edges", "piti") == (edges, run_of("piti", "edges"))


@pytest.mark.parametrize("method", ["piti", "solver"])
def test_resume_takes_what_a_run_began_with_from_its_default_folder(
    method: str, discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither --out, --task nor what it began with is named."""
    monkeypatch.chdir(tmp_path)
    run = run_of(method, "colour")
    if method == "piti":
        run = replace(run, prior=Prior(name="gone", channels=3, size=32, multiple=8))
    else:
        foreign = Foreign(origin="gone", sha256="0")
        run = RECIPES["modern"](run.task, "solver", 40)
        run = replace(run, networks=replace(run.networks, initializer="modern", foreign=foreign))
    place = begun(run, default_place(str(discs), "colour", method))
    met: list[tuple[str, Path]] = []

    def fit(folder: object, planned: Run, out: Path, *args: object, **named: object) -> None:
        met.append((planned.task_name + planned.method_name, out))
        raise KeyboardInterrupt

    monkeypatch.setattr("redraft.app.train.fit_run", fit)
    with pytest.raises(KeyboardInterrupt):
        train(str(discs), method=method, size=None, steps=2, resume=True, device="cpu")
    assert met == [("colour" + method, place)]


@pytest.mark.parametrize(
    ("text", "word"),
    [("recipe: modern", "not a run's"), ("method: 3\ntask: 4", "not a run's"), ("", "There is no setting")],
)
def test_settings_that_are_no_runs_are_told(text: str, word: str, tmp_path: Path) -> None:
    run = run_of("piti", "colour")
    place = begun(run, tmp_path / "run")
    (place / "run.yaml").write_text(text or yaml.safe_dump({**run.to_dict(), "newer": {"a": 1}}))
    with pytest.raises(CheckpointError, match=f"run.yaml cannot be used, .*{word}"):
        begun_run(place)


def test_of_a_prior_is_kept_what_a_report_tells(tmp_path: Path) -> None:
    assert told_of(tmp_path) == {}
    keep_told(tmp_path, {"a": torch.zeros(2, 3), "b": torch.zeros(4)}, None)
    assert told_of(tmp_path) == {"prior": {"weights": 10}}


def test_a_share_is_learnt_from_and_all_pictures_are_judged_by(discs: Path) -> None:
    folder = open_folder(str(discs))
    run = run_of("pix2pix", "colour")
    whole, half = (settle(run, [f"reading.share={s}"]) for s in (1, 0.5))
    every, some = (store(folder, "train", r, margin=True) for r in (whole, half))
    assert len(every) == 36 and len(some) == 18 and set(some.names) < set(every.names)
    assert len(store(folder, "train", half)) == 36 and len(store(folder, "test", half)) == 4
    fewer = plan(checked(str(discs), None), "colour", "pix2pix", "modern", 32, 0, ["reading.share=0.1"])
    usual = plan(checked(str(discs), None), "colour", "pix2pix", "modern", 32, 0)
    assert fewer.train.batch == 4 <= usual.train.batch  # as for a folder of so many


@pytest.mark.parametrize("share", ["0", "-0.5", "1.01", "few"])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    with pytest.raises(UsageError, match=r"reading\.share"):
        settle(run_of("pix2pix", "colour"), [f"reading.share={share}"])
