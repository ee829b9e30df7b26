"""What is taken where the user leaves it open: captions, sides whose names are alike, hints that fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from fusing import SIZE, SMALL, TINY, captioned
from painting import Cli, paint
from toys import IMAGE, TEXT

from redraft.app import bridges
from redraft.app.alone import alone
from redraft.app.check import open_folder
from redraft.app.train import chosen
from redraft.core import images


def test_captions_are_a_fusions_and_for_others_told(
    cli: Cli, toys: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridges, "TEXT", TEXT)
    words = captioned(tmp_path / "words")
    said = cli("fuse", words, "--to", IMAGE, *SMALL, "--steps=1", f"--out={tmp_path / 'run'}")
    assert said.status == 0 and "Task text, method fusion" in said.out, said.err
    line = ["train", words, "--size=16", "--steps=1", *TINY, "--device=cpu"]
    said = cli(*line, "--set=method.langevin.steps=2", f"--out={tmp_path / 'alone'}")
    assert said.status == 0 and "Task none" in said.out, said.err
    assert said.out.count("--task text") == 1
    said = cli(
        *line, "--method=autoencoder", "--set=networks.autoencoder.width=4", f"--out={tmp_path / 'ae'}"
    )
    assert said.status == 0 and "--task text" not in said.out, said.err


def test_a_few_captions_do_not_make_a_folder_of_words(classes: Path, tmp_path: Path) -> None:
    words = captioned(tmp_path / "words")
    assert chosen(open_folder(str(words)), None, "fusion")[0] == "text"
    assert chosen(open_folder(str(words)), "none", "fusion")[0] == "none"
    assert chosen(open_folder(str(classes)), None, "fusion")[0] == "category"
    for file in sorted(words.glob("*.txt"))[8:]:
        file.unlink()
    assert chosen(open_folder(str(words)), None, "fusion")[0] == "none"


def test_sides_with_names_alike_and_other_numbers_are_no_pairs(
    cli: Cli, toys: object, tmp_path: Path
) -> None:
    data = tmp_path / "sides"
    for first, (of, n) in enumerate((("trainA", 6), ("trainB", 24), ("testA", 4), ("testB", 6))):
        for i in range(n):
            paint(data / of / f"{i}.png", 100 * first + i, SIZE)
    line = ["fuse", data, "--to", IMAGE, *SMALL, "--steps=1", f"--out={tmp_path / 'run'}"]
    said = cli(*line, "--task=unpaired")
    assert said.status == 0, said.err
    assert "partner" not in said.out and "6 to train, 4 to test and 24 to train, 6 to test" in said.out
    said = cli("evaluate", tmp_path / "run", data, f"--out={tmp_path / 'report'}")
    assert said.status == 0, said.err


def test_an_autoencoders_samples_are_pictures_above_what_comes_back(
    cli: Cli, classes: Path, tmp_path: Path
) -> None:
    line = ["train", classes, "--method=autoencoder", "--size=16", "--steps=1", "--device=cpu", *TINY]
    said = cli(*line, "--set=networks.autoencoder.width=4", f"--out={tmp_path / 'run'}")
    assert said.status == 0, said.err
    sheet = images.read(str(sorted((tmp_path / "run" / "samples").glob("*.png"))[-1]))
    assert len(sheet) == 2 * (2 * (16 + 2) + 2)  # two rows


def test_against_few_pictures_is_named_what_the_method_has(
    cli: Cli, toys: object, classes: Path, tmp_path: Path
) -> None:
    hint = "--set method.diff_augment=true"
    line = ["train", classes, "--size=16", "--steps=1", "--device=cpu", *TINY]
    said = cli(*line, "--set=method.langevin.steps=2", f"--out={tmp_path / 'a'}")
    assert said.status == 0 and said.out.count(hint) == 1, said.err
    said = cli("fuse", classes, "--to", IMAGE, *SMALL, "--steps=1", f"--out={tmp_path / 'b'}")
    assert said.status == 0 and hint not in said.out and "learns them by heart" in said.out, said.err


def test_two_trainings_do_not_write_to_one_folder(cli: Cli, classes: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    line = ["train", classes, "--size=16", "--steps=1", "--device=cpu", f"--out={tmp_path}"]
    with alone(tmp_path, "train"):
        (tmp_path / "metrics.csv").touch()  # it has begun
        said = cli(*line)
        (tmp_path / "metrics.csv").unlink()
    assert said.status == 2 and "Another redraft train is at work" in said.err
    assert not (tmp_path / "run.yaml").exists()
    with alone(tmp_path, "train"):
        pass
    missing = tmp_path / "missing"
    assert cli(*line[:-1], "--resume", f"--out={missing}").status == 1 and not missing.exists()


def test_a_cache_that_cannot_be_written(cli: Cli, classes: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDRAFT_CACHE", str(tmp_path / "file" / "cache"))
        said = cli("train", classes, "--size=16", "--steps=1", f"--out={tmp_path / 'run'}")
    assert said.status == 2 and "set REDRAFT_CACHE" in said.err and said.err.count("\n") <= 2
