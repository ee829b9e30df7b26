"""``redraft compare``: several methods on one folder, stopped and gone on with, and what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from painting import Cli

from redraft.app import compare as app
from redraft.app import compare_measure
from redraft.app.compare_plan import entries
from redraft.core.errors import Diverged, Interrupted, UsageError
from redraft.evaluation.table import Scores

TINY = ["networks.solver_width=8", "networks.initializer_width=8", "train.batch=4", "method.langevin.steps=2"]
SET = [word for line in TINY for word in ("--set", line)]


@pytest.fixture(scope="module", autouse=True)
def without_lpips() -> Iterator[None]:
    """Its weights are the user's; where they are, they would be measured with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("REDRAFT_LPIPS", raising=False)
        yield


def line(discs: Path, out: Path, methods: str = "ccoopnets,pix2pix", seeds: int = 1, *more: str) -> list[str]:
    """The words of a small comparison."""
    words = ["compare", str(discs), "--methods", methods, "--task", "recover", "--size", "32", "--steps", "3"]
    return [*words, "--seeds", str(seeds), "--device", "cpu", "--out", str(out), *SET, *more]


@pytest.fixture(scope="module")
def compared(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods, of which one does not fit, two seeds."""
    out = tmp_path_factory.mktemp("compared") / "out"
    app.compare(
        [str(discs)],
        methods="ccoopnets,long=ccoopnets,pix2pix,coopnets",
        task="recover",
        size=32,
        steps=3,
        seeds=2,
        out=str(out),
        device="cpu",
        settings=[*TINY, "long.method.langevin.steps=3"],
    )
    return out


def runs(out: Path) -> list[dict]:
    return json.loads((out / "compare.json").read_text())["runs"]


def test_each_seed_of_each_method_is_a_run_with_its_scores(compared: Path) -> None:
    told = [(r["label"], r["seed"], bool(r["failed"])) for r in runs(compared)]
    labels = ("ccoopnets", "long", "pix2pix", "coopnets")
    assert told == [(label, seed, label == "coopnets") for seed in (0, 1) for label in labels]
    for run in runs(compared):
        if not run["failed"]:
            assert run["steps"] == 3 and run["seconds"] >= 0  # in tenths
            assert {"draft", "refined", "mean picture"} <= Scores.from_dict(run["scores"]).rows.keys()
            assert (Path(run["run"]) / "model" / "config.json").exists()


def test_a_setting_of_one_method_is_its_own(compared: Path) -> None:
    steps = {r["label"]: r["refine_steps"] for r in runs(compared) if not r["failed"]}
    assert steps == {"ccoopnets": 2, "long": 3, "pix2pix": 2}


def test_an_adversarial_method_is_judged_by_its_drafts_and_offers_refinement(compared: Path) -> None:
    kinds = {r["label"]: (r["default_steps"], r["refine_steps"]) for r in runs(compared) if not r["failed"]}
    assert kinds["pix2pix"] == (0, 2) and kinds["ccoopnets"] == (2, 2)
    page = (compared / "index.html").read_text()
    assert "refined by its discriminator, K = 2" in page and "worth of the score" in page


def test_the_curve_begins_with_drafts_and_goes_beyond_the_steps_of_training(compared: Path) -> None:
    for run in runs(compared):
        if not run["failed"]:
            assert [p["steps"] for p in run["curve"]] == sorted({0, 1, 2, 5, 10, 20, run["refine_steps"]})
            assert all(p["milliseconds"] > 0 for p in run["curve"])
    fixed = next(r for r in runs(compared) if r["label"] == "pix2pix")  # no z: the same drafts in both
    kid = next(k for k in fixed["curve"][0]["cells"] if k.startswith("KID"))
    assert fixed["curve"][0]["cells"][kid][0] == pytest.approx(fixed["scores"]["rows"]["draft"][kid][0])
    assert fixed["curve"][-1]["cells"][kid][0] != pytest.approx(fixed["scores"]["rows"]["draft"][kid][0])


def test_the_report_shows_and_says_it_all(compared: Path) -> None:
    page = (compared / "index.html").read_text()
    for words in ("What to take", "The same inputs across methods", "Numbers, beside controls", "Training"):
        assert f"<h2>{words}</h2>" in page
    assert "Method coopnets cannot do task recover" in page
    assert "Quality against time" in page and "real, training" in page
    for file in ("inputs-0.png", "inputs-7.png", "variants-0-0.png", "nearest-0-refined.png"):
        assert (compared / file).exists() and file in page
    assert "inputs-8.png" not in page  # condition, truth, and a draft and a refined one of three
    table = (compared / "compare.md").read_text()
    assert "\n|PSNR|" in table and "|mean picture|" in table
    assert table.startswith(json.loads((compared / "compare.json").read_text())["says"])


def test_the_same_line_trains_and_measures_nothing_again(
    compared: Path, discs: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **named: object) -> None:
        pytest.fail("done again")

    before = runs(compared)
    more = ["--set", "long.method.langevin.steps=3"]
    words = line(discs, compared, "ccoopnets,long=ccoopnets,pix2pix,coopnets", 2, *more)
    with monkeypatch.context() as patch:
        patch.setattr(app, "fit_run", never)
        patch.setattr(compare_measure, "measure", never)
        assert cli(*words).status == 0
    assert runs(compared) == before

    with monkeypatch.context() as patch:  # other pictures: measured again, not trained
        patch.setattr(app, "fit_run", never)
        assert cli(*words, "--pictures", 3).status == 0
    assert runs(compared)[0]["scores"]["pictures"] == 3


def test_runs_that_are_there_are_compared_as_seeds_of_their_methods(
    compared: Path, discs: Path, cli: Cli, tmp_path: Path
) -> None:
    places = [compared / "runs" / name for name in ("pix2pix-1", "ccoopnets-0", "ccoopnets-1", "pix2pix-0")]
    said = cli("compare", *places, "--data", discs, "--out", tmp_path / "out", "--device", "cpu")
    assert said.status == 0, said.err
    told = [(r["label"], r["seed"]) for r in runs(tmp_path / "out")]
    assert sorted(told) == [("ccoopnets", 0), ("ccoopnets", 1), ("pix2pix", 0), ("pix2pix", 1)]
    assert "Means over 2 seeds each" in said.out
    places += [compared / "runs" / "long-0"]  # a method that comes twice is called as its folder is
    assert cli("compare", *places, "--data", discs, "--out", tmp_path / "more", "--device", "cpu").status == 0
    assert {r["label"] for r in runs(tmp_path / "more")} == {"pix2pix", "ccoopnets", "long"}
    one = cli("compare", places[0], places[0], "--data", discs)
    assert one.status == 2 and "One run is no comparison" in one.err


def test_runs_of_other_tasks_are_refused(compared: Path, discs: Path, cli: Cli, tmp_path: Path) -> None:
    more = ["--task", "colour", "--size", "32", "--steps", "1", "--device", "cpu", "--out", tmp_path / "grey"]
    assert cli("train", discs, *more, *SET).status == 0
    said = cli("compare", compared / "runs" / "pix2pix-0", tmp_path / "grey", "--data", discs)
    assert said.status == 2 and "their task differ (recover and colour)" in said.err


def test_weights_that_cannot_be_read_are_told_before_training(
    discs: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDRAFT_LPIPS", str(tmp_path / "none.safetensors"))
    said = cli(*line(discs, tmp_path / "out"))
    assert said.status == 1 and "REDRAFT_LPIPS" in said.err
    assert not (tmp_path / "out").exists()


def test_when_all_fail_the_report_is_there_and_the_status_is_not_0(
    discs: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **named: object) -> None:
        raise Diverged("Training failed 6 times.")

    monkeypatch.setattr(app, "fit_run", fails)
    said = cli(*line(discs, tmp_path / "out"))
    assert said.status == 1 and "No method came to an end" in said.err
    assert "Training failed 6 times." in (tmp_path / "out" / "index.html").read_text()


def test_what_fails_is_a_row_that_says_why_and_is_not_tried_again(
    discs: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = app.fit_run
    tried = []

    def fails(folder: object, run: object, out: Path, *args: object, **named: object) -> Path:
        tried.append(out.name)
        if out.name == "pix2pix-0":
            raise Diverged("Training failed 6 times.")
        if out.name == "plain-0":
            raise RuntimeError("DefaultCPUAllocator: not enough memory")
        return train(folder, run, out, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(app, "fit_run", fails)
    words = line(discs, tmp_path / "out", "pix2pix,plain=ccoopnets,ccoopnets")
    for _ in range(2):
        said = cli(*words)
        assert said.status == 0, said.err
        why = {r["label"]: r["failed"] for r in runs(tmp_path / "out")}
        assert why["pix2pix"] == "Training failed 6 times." and "memory" in why["plain"]
        assert not why["ccoopnets"]
        assert "pix2pix could not be compared" in said.out
    assert tried == ["pix2pix-0", "plain-0", "ccoopnets-0"]
    assert "Remove" in said.out and "to try again" in said.out


def test_stopped_it_keeps_what_is_finished_and_goes_on(
    discs: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = app.fit_run
    tried: list[str] = []

    def stops(folder: object, run: object, out: Path, *args: object, **named: object) -> Path:
        tried.append(out.name)
        if tried == ["ccoopnets-0", "pix2pix-0"]:
            raise Interrupted("Stopped at step 2; to go on, run the same line with --resume.")
        return train(folder, run, out, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(app, "fit_run", stops)
    words = line(discs, tmp_path / "out")
    said = cli(*words)
    assert said.status == 130 and "give the same line again" in said.err and "--resume" not in said.err
    assert cli(*words).status == 0
    assert tried == ["ccoopnets-0", "pix2pix-0", "pix2pix-0"]
    changed = cli(*[w if w != "3" else "5" for w in words])
    assert changed.status == 2 and "train.steps = 3, not 5" in changed.err


KILLED = """
import os, signal, sys
from redraft.training import trainer
after = trainer._Run._after
def dies(self, **named):
    after(self, **named)
    if "pix2pix" in str(self.out) and self.step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
trainer._Run._after = dies
from redraft.cli.main import main
main()
"""


def test_killed_it_goes_on_within_the_run(discs: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = line(discs, out, "ccoopnets,pix2pix", 1, "--set", "train.checkpoint_every=1")
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (out / "runs" / "ccoopnets-0" / "model").exists()
    said = cli(*words)
    assert said.status == 0, said.err
    assert "Goes on at step 2." in said.out and "Trained already." in said.out
    assert (
        cli(
            *line(discs, tmp_path / "whole", "ccoopnets,pix2pix", 1, "--set", "train.checkpoint_every=1")
        ).status
        == 0
    )
    mine, whole = runs(out), runs(tmp_path / "whole")
    assert [r["hash"] for r in mine] == [r["hash"] for r in whole]  # as if nothing had been


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["DATA", "--methods", "ccoopnets,pixpix"], "There is no method 'pixpix'; did you mean 'pix2pix'?"),
        (["DATA"], "Name methods, --methods ccoopnets,pix2pix"),
        (["DATA", "--methods", " "], "--methods is empty"),
        (["DATA", "--methods", "ccoopnets"], "is one method; a comparison takes two or more"),
        (["DATA", "--methods", "gan,gan"], "names gan twice"),
        (["DATA", "--methods", "gan,train=gan"], "'train' cannot be the name of a variant"),
        (["DATA", "--methods", "gan,a/b=gan"], "'a/b' cannot be the name of a variant"),
        (["DATA", "--methods", "ccoopnets,pix2pix", "--seeds", "0"], "--seeds counts the trainings"),
        (["DATA", "--methods", "ccoopnets,pix2pix", "--minutes", "-1"], "--minutes must be more than 0"),
        (["DATA", "--methods", "ccoopnets,pix2pix", "--minutes", "1", "--steps", "2"], "not both"),
        (["DATA", "--methods", "ccoopnets,pix2pix", "--pictures", "1"], "--pictures must be at least 2"),
        (["DATA", "--methods", "ccoopnets,pix2pix", "--features", "smal"], "did you mean 'small'?"),
        (["DATA", "--methods", "ccoopnets,pix2pix", "--task", "recove"], "did you mean 'recover'?"),
        (["DATA", "--methods", "ccoopnets,pix2pix", "--task", "labels"], "does not suit --task labels"),
        (["DATA", "--methods", "pix2pix,ccoopnets", "--task", "none"], "cannot do task none"),
        (["DATA", "--methods", "gan,pix2pix", "--set", "pixpix.train.batch=3"], "did you mean 'pix2pix'?"),
        (["DATA", "--methods", "gan,coopnets", "--task", "none", "--set", "gan.train.bach=3"], "train.bach"),
        (["DATA", "--methods", "gan,coopnets", "--task", "none", "--features", "judge"], "is for task"),
        (["DATA", "RUN", "--methods", "ccoopnets,pix2pix"], "--methods goes with one DATA and no runs"),
        (["RUN", "RUN2"], "name their folder with --data DATA"),
        (["RUN", "RUN2", "--data", "DATA"], "is not a model"),
        (["DATA", "--methods", "gan,coopnets", "--task", "none", "--out", "FULL"], "holds other files"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused_in_a_sentence(
    discs: Path, cli: Cli, tmp_path: Path, words: Sequence[str], sentence: str
) -> None:
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "thesis.txt").write_text("mine")
    named = {"DATA": discs, "FULL": tmp_path / "FULL", "RUN": tmp_path / "a", "RUN2": tmp_path / "b"}
    said = cli("compare", *(named.get(w, w) for w in words))
    assert said.status in (1, 2)
    assert sentence in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_settings_find_their_method() -> None:
    lines = ["a.networks.style=8", "train.batch=4", "coopinit.share=0.1", "coopinit.train.batch=2"]
    made, general = entries("ccoopnets, a=pix2pix,coopinit", lines)
    assert [(e.label, e.method, e.settings) for e in made] == [
        ("ccoopnets", "ccoopnets", ()),
        ("a", "pix2pix", ("networks.style=8",)),
        ("coopinit", "coopinit", ("train.batch=2",)),
    ]
    assert general == ["train.batch=4", "coopinit.share=0.1"]
    with pytest.raises(UsageError, match="--set takes key=value"):
        entries("ccoopnets,pix2pix", ["a"])


def test_two_at_once_in_one_folder_are_refused(cli: Cli, discs: Path, tmp_path: Path) -> None:
    from redraft.app.alone import alone

    line = (
        "compare",
        discs,
        "--methods",
        "gan,coopnets",
        "--task",
        "none",
        "--steps",
        "1",
        "--out",
        tmp_path / "out",
    )
    with alone(tmp_path / "out", "compare"):
        said = cli(*line)
    assert said.status and "Another redraft compare is at work" in said.err
    assert not (tmp_path / "out" / "runs").exists()
