"""What is asked wrongly of fusions and experts ends in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fusing import SIZE, SMALL
from painting import Cli, paint
from toys import IMAGE, TEXT, Cells, at_hand

pytestmark = pytest.mark.usefixtures("toys")


# --- bad input


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["--from=text:bert"], "text:minilm"),
        (["--from=text:toyy"], "no expert text:toyy"),
        (["--from=" + IMAGE, "--task=text"], "kind text"),
        (["--from=" + TEXT, "--task=none"], "nothing to read"),
        (["--to=" + TEXT], "cannot make pictures"),
        (["--from="], "--from is empty"),
        (["--set=reading.margin=4"], "experts see each once"),
        (
            ["--set=condition.fingerprint=x", "--set=networks.initializer=modern"],
            "leave networks.initializer at flow",
        ),
        (["--size=24"], "multiple of 16"),
    ],
)
def test_wrong_words_for_fuse(cli: Cli, words: Path, tmp_path: Path, command: list[str], says: str) -> None:
    to = [] if any(w.startswith("--to") for w in command) else [f"--to={IMAGE}"]
    said = cli("fuse", words, *to, "--steps=1", f"--out={tmp_path / 'run'}", *command)
    assert said.status in (1, 2) and says in said.err and said.err.count("\n") == 1, said.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["--method=ccoopnets", "--recipe=classic", f"--set=target.latent={IMAGE}"], "works on pixels"),
        (["--task=none", "--method=coopnets", f"--set=condition.expert={IMAGE}"], "nothing to read"),
        (["--task=category", "--method=gan", f"--set=condition.expert={TEXT}"], "nothing to read"),
        (["--task=none", "--method=autoencoder", f"--set=target.latent={IMAGE}"], "of its own"),
        (
            ["--task=edges", "--method=pix2pix", "--set=target.latent=image:taef2", "--size=16"],
            "2 x 2 latents",
        ),
    ],
)
def test_wrong_experts_for_other_methods(
    cli: Cli, classes: Path, tmp_path: Path, command: list[str], says: str
) -> None:
    said = cli("train", classes, "--steps=1", f"--out={tmp_path / 'run'}", *command)
    assert said.status == 2 and says in said.err and said.err.count("\n") == 1, said.err
    assert not (tmp_path / "run").exists()


def test_an_expert_with_other_weights_is_refused(
    cli: Cli, class_run: Path, classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_hand(monkeypatch, Cells(2.0))
    said = cli("generate", class_run, "ball", f"--out={tmp_path / 'out'}")
    assert said.status == 1 and "put the earlier one back" in said.err and said.err.count("\n") == 1
    coarser = Cells()
    coarser._shape = (12, 2, 2)
    at_hand(monkeypatch, coarser)
    said = cli("generate", class_run, "ball", f"--out={tmp_path / 'out'}")
    assert said.status == 1 and "(12, 2, 2)" in said.err and "(48, 4, 4)" in said.err


def test_captions_that_are_missing(cli: Cli, tmp_path: Path) -> None:
    for i in range(12):
        paint(tmp_path / "data" / f"{i}.png", i, SIZE)
    line = [
        "fuse",
        tmp_path / "data",
        f"--from={TEXT}",
        f"--to={IMAGE}",
        "--steps=1",
        f"--out={tmp_path / 'run'}",
    ]
    said = cli(*line)
    assert said.status in (1, 2) and "have no captions" in said.err and said.err.count("\n") == 1
    (tmp_path / "data" / "3.txt").write_text("  \n")
    assert "caption" in cli(*line).err


def test_another_language_is_told(cli: Cli, text_run: Path, words: Path, tmp_path: Path) -> None:
    said = cli("generate", text_run, "ein roter Ball", f"--out={tmp_path / 'a'}")
    assert f"none that {TEXT} knows" in said.out and "ein roter Ball" in said.out
    assert "none that" not in cli("generate", text_run, "a red ball", f"--out={tmp_path / 'b'}").out
    foreign = Path(shutil.copytree(words, tmp_path / "foreign"))
    for file in foreign.glob("*.txt"):
        file.write_text(f"ein {('Pferd', 'Haus')[int(file.stem) % 2]} im Bild")
    line = ["fuse", foreign, f"--from={TEXT}", f"--to={IMAGE}", *SMALL, "--steps=1"]
    said = cli(*line, f"--out={tmp_path / 'run'}")
    assert said.status == 0 and "warning: 100%" in said.out and "im Bild" in said.out, said.err


def test_a_size_that_experts_cannot_have_gives_way(cli: Cli, tmp_path: Path) -> None:
    for i in range(24):
        paint(tmp_path / "data" / ("ball", "dot")[i % 2] / f"{i}.png", i, 28)
    line = [
        "train",
        tmp_path / "data",
        "--method=fusion",
        "--steps=1",
        *SMALL[2:],
        f"--out={tmp_path / 'run'}",
    ]
    said = cli(*line)
    assert said.status == 0 and "made at 32 px" in said.out, said.err
    said = cli(*line[:-1], "--size=28", f"--out={tmp_path / 'other'}")
    assert said.status == 2 and "--size 32" in said.err


def test_check_says_what_can_be_made_of_captions(cli: Cli, words: Path) -> None:
    assert f"redraft fuse {words} --from text:minilm --to image:taef2" in cli("data", "check", words).out
