"""``redraft compare --prior NAME``: PITI at equal length, from its prior and from scratch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from painting import Cli
from tests.nets.tiny_priors import diffusers

import redraft
from redraft.app import compare_measure
from redraft.app.compare_prior import begun_before, lent
from redraft.evaluation.calibration import Calibration
from redraft.recipes import RECIPES, build
from redraft.tasks import TASKS
from redraft.training import checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
TINY = [
    *("piti.networks.encoder.width=8", "piti.networks.encoder.layers=1", "piti.networks.encoder.heads=2"),
    *("train.batch=4", "train.checkpoint_every=1", "method.steps=2", "method.draft_steps=1"),
]
SCRATCH = [line.replace("piti.", "scratch.") for line in TINY[:3]] + ["scratch.prior.fresh=true"]
SIZE = 16


@pytest.fixture
def prior(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of method diffusion of 16 px, as 90 seconds of training on 7 pictures would leave it."""
    diffusers()
    monkeypatch.delenv("REDRAFT_LPIPS", raising=False)
    task = TASKS["none"](size=SIZE, channels=3)  # type: ignore[call-arg]
    small = ["networks.denoiser.channels=[16]", "networks.denoiser.tokens=8"]
    run = RECIPES["modern"](task, "diffusion", 7).override(small)
    model = redraft.Model(
        run,
        build(run),
        Calibration.of(torch.zeros(4), None, None),
        about={"steps": 5, "seconds": 90.0, "pictures": 7},
    )
    model.save_pretrained(tmp_path / "prior", "fresh weights")
    return tmp_path / "prior"


class Killed(BaseException):
    """The machine goes off."""


def test_from_its_prior_and_from_scratch_it_is_compared_and_goes_on_without_the_priors_folder(
    cli: Cli, discs: Path, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine goes off within the second of two trainings, and then the prior's folder goes."""
    out = tmp_path / "out"
    words: list[object] = ["compare", discs, "--methods", "piti,scratch=piti", "--prior", prior]
    words += [
        "--task",
        "colour",
        "--steps",
        "3",
        "--seeds",
        "1",
        "--device",
        "cpu",
        "--out",
        out,
        *(f"--set={s}" for s in TINY + SCRATCH),
    ]
    save = checkpoint.Keeper.save
    steps: list[tuple[str, int]] = []

    def dies(self: checkpoint.Keeper, state: dict, **more: object) -> None:
        save(self, state, **more)  # type: ignore[arg-type]
        steps.append((self.folder.parent.name, state["step"]))
        if steps.count(("scratch-0", 1)) == 1 and steps[-1] == ("scratch-0", 1):
            raise Killed

    monkeypatch.setattr(checkpoint.Keeper, "save", dies)
    for name, less in {"CURVE": (0,), "VARIANTS": 1, "VARIED": 1}.items():  # what this is not about
        monkeypatch.setattr(compare_measure, name, less)
    with pytest.raises(Killed):
        cli(*words)
    shutil.rmtree(prior)
    more = cli(*("2" if word == "1" else word for word in words))
    assert more.status and more.err.count("\n") == 1 and str(prior) in more.err  # those of seed 1 need it
    said = cli(*words)
    assert said.status == 0, said.err
    told = json.loads((out / "compare.json").read_text())
    assert [r["failed"] for r in told["runs"]] == ["", ""] and told["facts"]["size"] == f"{SIZE} px"
    assert said.out.count("Trained already.") == 1 and "Goes on at step 1." in said.out
    assert steps.index(("scratch-0", 1)) > steps.index(("piti-0", 3)) and steps[-1] == ("scratch-0", 3)
    assert [r["prior"]["fresh"] for r in told["runs"]] == [False, True]
    report = (out / "compare.md").read_text()
    assert "- piti begins with a prior, whose own training is no part of the budget." in report
    assert "weights, trained here for 1.5 minutes on 7 pictures)" in report
    assert "- scratch begins with the network of" in report and "no other training is behind it" in report
    assert '<th scope="row">begins with</th>' in (out / "index.html").read_text()


def test_priors_that_nobody_or_somebody_else_begins_with_are_refused(
    cli: Cli, discs: Path, prior: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def refused(*words: object) -> str:
        said = cli("compare", *words, "--out", out)
        assert said.status in (1, 2) and said.err.count("\n") == 1 and not out.exists()
        return str(said.err)

    assert "name one with --prior NAME: a run" in refused(
        discs, "--task", "colour", "--methods", "piti,pix2pix"
    )
    assert "--prior is empty" in refused(
        discs, "--task", "colour", "--methods", "piti,pix2pix", "--prior", ""
    )
    none = "--prior is for method piti: name that in --methods"
    assert none in refused(discs, "--task", "colour", "--methods", "ccoopnets,pix2pix", "--prior", prior)
    assert none in refused("RUN", "RUN2", "--data", discs, "--prior", prior)
    assert "is no diffusion model" in refused(
        discs, "--task", "colour", "--methods", "piti,pix2pix", "--prior", discs
    )


def test_a_report_tells_what_is_known_of_priors() -> None:
    elsewhere = {"name": "hub/model", "fresh": False, "weights": 1234}
    older = {"name": "runs/p", "fresh": False}
    assert begun_before(elsewhere) == "hub/model (1,234 weights, how long it was trained is not known here)"
    assert begun_before(older) == "runs/p (how long it was trained is not known here)"
    says = lent({"a": elsewhere, "b": elsewhere, "c": older, "d": {**older, "fresh": True}})
    who = [
        "a and b begin with a prior",
        "c begins with a prior",
        "d begins with the network of runs/p and fresh",
    ]
    assert [f.says.startswith(w) for f, w in zip(says, who, strict=True)] == [True] * 3
    assert not lent({})
