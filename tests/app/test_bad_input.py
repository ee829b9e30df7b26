"""Whatever a user gets wrong ends in one clear sentence, the right status, and nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from painting import Cli, paint
from PIL import Image

from redraft.hub import bundle

TINY = ["--set", "networks.solver_width=8", "--set", "networks.initializer_width=8", "--set", "train.batch=4"]


def one_sentence(err: str) -> bool:
    return err.startswith("redraft: ") and "Traceback" not in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says", "status"),
    [
        (["--method", "coopnet"], "did you mean 'coopnets'", 2),
        (["--task", "colur"], "did you mean 'colour'", 2),
        (["--recipe", "modren"], "did you mean 'modern'", 2),
        (["--set", "train.bacth=4"], "did you mean 'train.batch'", 2),
        (["--set", "tarin.batch=4"], "did you mean 'train'", 2),
        (["--set", "train.batch"], "key=value", 2),
        (["--set", "train.batch=many"], "train.batch", 2),
        (["--set", "train.batch=0"], "train.batch", 2),
        (["--set", "method.langevin.delta=-1"], "greater than 0", 2),
        (["--size", "0"], "multiple of 16", 2),
        (["--size", "1"], "multiple of 16", 2),
        (["--size", "7"], "multiple of 16", 2),
        (["--size", "1000000"], "multiple of 16", 2),
        (["--steps", "0"], "at least 1", 2),
        (["--minutes", "-1"], "more than 0", 2),
        (["--steps", "1", "--minutes", "1"], "not both", 2),
        (["--task", "none", "--method", "ccoopnets"], "needs a condition", 2),
        (["--task", "category", "--method", "coopnets"], "no condition", 2),
        (["--task", "labels"], "does not suit", 2),
        (["--device", "gpu"], "device", 2),
        (["--set", "train="], "key=value", 2),
        (["--set", "=1"], "key=value", 2),
        (["--set", ""], "key=value", 2),
        (["--set", "train.batch=2.5"], "train.batch takes a whole number", 2),
        (["--set", "train.accumulate=3"], "train.batch=", 2),
        (["--task", "category", "--set", "train.batch=1"], "at least 2 pictures", 2),
        (["--set", "method.langevin.steps=0"], "langevin.steps", 2),
        (["--set", "task.size=33"], "multiple of 16", 2),
        (["--set", "task.channels=2"], "1 (grey) or 3", 2),
        (["--set", "reading.margin=-1"], "reading.margin", 2),
        (["--seed", str(2**70)], "64 bits", 2),
        (["--steps", str(10**10)], "10^9", 2),
        (["--minutes", "inf"], "finite", 2),
        (["--set", "train.lr.solver=.inf"], "train.lr.solver takes a finite number", 2),
        (["--method", "gan", "--set", "train.shard=true"], "penalties on a gradient", 2),
        (["--minutes", "nan"], "finite", 2),
        (["--method=diffusion", "--task=none", "--set=method.guidance=1"], "task none has none", 2),
        (["--set", "networks.lora=4"], "networks.lora is for method piti", 2),
        (["--set", "prior.fresh=true"], "prior.fresh is for method piti", 2),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_wrong_words_for_train(
    cli: Cli, discs: Path, tmp_path: Path, words: list[str], says: str, status: int
) -> None:
    said = cli(
        "train",
        discs,
        *(["--steps", "1"] if not {"--steps", "--minutes"} & set(words) else []),
        *words,
        "--out",
        tmp_path / "run",
    )
    assert said.status == status and says in said.err and one_sentence(said.err)
    assert not (tmp_path / "run" / "checkpoints").exists()


def folder_of(kind: str, root: Path) -> Path:
    root.mkdir()
    if kind == "one picture":
        paint(root / "a.png", 0)
    if kind == "all corrupt":
        for i in range(12):
            (root / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    if kind == "mismatched pairs":
        for i in range(12):
            paint(root / "trainA" / f"a{i}.png", i)
            paint(root / "trainB" / f"b{i}.png", i)
    if kind == "text":
        (root / "notes.txt").write_text("hello")
    return root


@pytest.mark.parametrize("kind", ["empty", "one picture", "all corrupt", "text"])
def test_folders_that_cannot_be_trained_on(cli: Cli, tmp_path: Path, kind: str) -> None:
    folder = folder_of(kind, tmp_path / "data")
    said = cli("train", folder, "--steps", "1", "--out", tmp_path / "run")
    assert said.status == 1 and one_sentence(said.err)
    checked = cli("data", "check", folder)
    assert checked.status == 1 and "Traceback" not in checked.out + checked.err


def test_pairs_whose_names_differ(cli: Cli, tmp_path: Path) -> None:
    folder = folder_of("mismatched pairs", tmp_path / "data")
    said = cli("train", folder, "--task", "pairs", "--steps", "1", "--out", tmp_path / "run")
    assert said.status in (1, 2) and one_sentence(said.err)
    assert cli("data", "check", folder).status in (0, 1)


def test_no_such_folder(cli: Cli, tmp_path: Path) -> None:
    said = cli("train", tmp_path / "nowhere", "--steps", "1")
    assert said.status == 2 and "no folder" in said.err and "fashion" in said.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "secret"
    folder.mkdir(mode=0)
    said = cli("data", "check", folder)
    assert said.status == 1 and "permission" in said.err.lower() and one_sentence(said.err)


def test_a_run_is_not_written_over(cli: Cli, discs: Path, recover_run: Path) -> None:
    before = (recover_run / "model" / "model.safetensors").read_bytes()
    said = cli("train", discs, "--task", "recover", "--size", "32", "--steps", "4", "--out", recover_run)
    assert said.status == 2 and "--resume" in said.err and one_sentence(said.err)
    assert (recover_run / "model" / "model.safetensors").read_bytes() == before


def test_resume_where_there_is_nothing(cli: Cli, discs: Path, tmp_path: Path) -> None:
    said = cli("train", discs, "--steps", "1", "--resume", "--out", tmp_path / "run")
    assert said.status == 1 and "no run" in said.err and one_sentence(said.err)


def test_resume_with_other_settings(cli: Cli, discs: Path, recover_run: Path) -> None:
    said = cli(
        "train", discs, "--task", "recover", "--size", "32", "--steps", "4", "--resume", "--out", recover_run
    )
    assert (
        said.status == 1 and "was begun with method.langevin.steps = 2" in said.err and one_sentence(said.err)
    )


def test_resume_on_other_pictures(cli: Cli, recover_run: Path, tmp_path: Path) -> None:
    for i in range(40):
        paint(tmp_path / ("ball" if i % 2 else "dot") / f"{i:02d}.png", i + 100)
    tiny = [*TINY, "--set", "method.langevin.steps=2", "--task", "recover", "--size", "32", "--steps", "4"]
    said = cli("train", tmp_path, *tiny, "--resume", "--out", recover_run)
    assert said.status == 1 and "pictures have changed" in said.err and one_sentence(said.err)


def test_a_report_is_not_written_over_other_files(
    cli: Cli, discs: Path, recover_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    for place in (tmp_path / "full", tmp_path / "full" / "mine.txt"):
        said = cli("evaluate", recover_run, discs, "--out", place)
        assert said.status == 2 and "another --out" in said.err and one_sentence(said.err)


def test_an_unreadable_condition_is_left_out(
    cli: Cli, discs: Path, recover_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    good = discs / "ball" / "01.png"
    said = cli("generate", recover_run, tmp_path / "broken.png", good, "--out", tmp_path / "out")
    assert said.status == 1 and "Left out" in said.out and "1 of 2" in said.err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["01.png"]


@pytest.mark.parametrize(
    ("key", "value"), [("seed", "x"), ("place", "9"), ("together", "a b"), ("steps", "-1")]
)
def test_an_edited_story(
    cli: Cli, discs: Path, recover_run: Path, tmp_path: Path, key: str, value: str
) -> None:
    from redraft.core import images

    cli("generate", recover_run, discs / "ball" / "01.png", "--out", tmp_path / "out", "--refine", "0")
    (file,) = (tmp_path / "out").iterdir()
    told = images.read_info(file) | {f"redraft:{key}": value}
    images.write(images.to_tensor(images.read(file)), tmp_path / "edited.png", told)
    said = cli("explain", tmp_path / "edited.png")
    assert said.status == 1 and f"its {key}" in said.err and one_sentence(said.err)


def test_generate_does_not_write_over(cli: Cli, discs: Path, recover_run: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    said = cli("generate", recover_run, discs / "ball" / "01.png", "--out", tmp_path / "full")
    assert said.status == 2 and "another --out" in said.err
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "needs a picture"),
        (["no-such-file.png"], "no-such-file.png"),
        (["--refine", "-1", "PICTURE"], "--refine"),
        (["--variants", "0", "PICTURE"], "--variants"),
        (["--variants", "4", "--best-of", "2", "PICTURE"], "--best-of"),
        (["--bits", "12", "PICTURE"], "--bits"),
        (["--best-of", "0", "PICTURE"], "--best-of"),
        (["--seed", str(2**70), "PICTURE"], "--seed"),
    ],
)
def test_wrong_words_for_generate(
    cli: Cli, discs: Path, recover_run: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    words = [str(discs / "ball" / "01.png") if w == "PICTURE" else w for w in words]
    said = cli("generate", recover_run, *words, "--out", tmp_path / "out")
    assert said.status in (1, 2) and says in said.err and one_sentence(said.err)
    assert not list((tmp_path / "out").glob("*.png")) if (tmp_path / "out").exists() else True


@pytest.fixture
def broken(recover_run: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(recover_run / "model", tmp_path / "model"))


def resaved(place: Path, change: str) -> None:
    stored = bundle.load(place)
    tensors, config = dict(stored.tensors), dict(stored.config)
    name = "method.solver.out.weight"
    if change == "missing":
        del tensors[name]
    if change == "extra":
        tensors["method.solver.more"] = tensors[name].clone()
    if change == "shape":
        tensors[name] = tensors[name].flatten()[:3].clone()
    bundle.save(place, {k: config[k] for k in ("run", "about")}, tensors, "", replace=True)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_a_bundle_with_the_wrong_tensors(
    cli: Cli, discs: Path, broken: Path, tmp_path: Path, change: str
) -> None:
    resaved(broken, change)
    said = cli("generate", broken, discs / "ball" / "01.png", "--out", tmp_path / "out")
    assert said.status == 1 and "solver" in said.err and one_sentence(said.err)


def test_a_bundle_of_another_version(cli: Cli, discs: Path, broken: Path, tmp_path: Path) -> None:
    config = json.loads((broken / "config.json").read_text())
    config["format"] = 99
    (broken / "config.json").write_text(json.dumps(config))
    said = cli("generate", broken, discs / "ball" / "01.png", "--out", tmp_path / "out")
    assert said.status == 1 and "99" in said.err and one_sentence(said.err)


def test_not_a_model(cli: Cli, discs: Path, tmp_path: Path) -> None:
    said = cli("generate", discs, "--out", tmp_path / "out")
    assert said.status == 1 and one_sentence(said.err)


def test_a_picture_that_is_none(cli: Cli, recover_run: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    said = cli("generate", recover_run, tmp_path / "broken.png", "--out", tmp_path / "out")
    assert said.status == 1 and "broken.png" in said.err and one_sentence(said.err)


def test_explain_a_picture_of_somebody_else(cli: Cli, discs: Path, tmp_path: Path) -> None:
    said = cli("explain", discs / "ball" / "01.png")
    assert said.status == 1 and "does not say how it was made" in said.err and one_sentence(said.err)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg")
    assert cli("explain", tmp_path / "x.jpg").status == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "", "--steps", "1"], "DATA is empty"),
        (["train", "fashion", "--steps", "1", "--out", ""], "--out is empty"),
        (["generate", "", "--out", "x"], "MODEL is empty"),
        (["evaluate", "RUN", "DATA", "--refine", "-1"], "--refine"),
        (["demo", "--minutes", "0"], "--minutes"),
        (["data", "check", ""], "DATA is empty"),
    ],
)
def test_refused_before_any_work(
    cli: Cli, discs: Path, recover_run: Path, words: list[str], says: str
) -> None:
    named = {"RUN": str(recover_run), "DATA": str(discs)}
    said = cli(*(named.get(word, word) for word in words))
    assert said.status == 2 and says in said.err and one_sentence(said.err)


def test_training_goes_on_when_nobody_listens(discs: Path, tmp_path: Path) -> None:
    words = ["train", str(discs), "--task", "recover", "--size", "32", "--steps", "2", "--device", "cpu"]
    out = tmp_path / "run"
    reader, writer = os.pipe()
    os.close(reader)
    said = subprocess.run(
        [sys.executable, "-m", "redraft.cli.main", *words, *TINY, "--out", str(out)],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    os.close(writer)
    assert said.returncode == 0, said.stderr
    assert (out / "model" / "model.safetensors").exists()
