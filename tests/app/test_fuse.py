"""Fusions from the command line: words to pictures, pictures to pictures, exemplars."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from fusing import SIZE, SMALL, Like, picture
from painting import Cli, paint
from toys import IMAGE, TEXT

import redraft
from redraft.app.model import Model
from redraft.core import images
from redraft.hub import bundle

pytestmark = pytest.mark.usefixtures("toys")


# --- words to pictures


def test_words_become_pictures(cli: Cli, words: Path, tmp_path: Path) -> None:
    said = cli("fuse", words, "--from", TEXT, "--to", IMAGE, *SMALL, "--steps=3", f"--out={tmp_path / 'run'}")
    assert said.status == 0, said.err
    assert f"{IMAGE} gives held-out pictures back with PSNR 100.0 dB" in said.out
    assert "Task text, method fusion" in said.out and "Next: redraft generate" in said.out
    about = bundle.load(tmp_path / "run" / "model").config["about"]
    assert about["reconstruction_psnr"] == 100.0
    line = ["generate", tmp_path / "run", "a red ball", "--variants=3", "--seed=5"]
    assert cli(*line, f"--out={tmp_path / 'a'}").status == 0
    files = sorted((tmp_path / "a").iterdir())
    assert [f.name for f in files] == [f"a-red-ball-{i}.png" for i in range(3)]
    assert not torch.equal(picture(files[0]), picture(files[1]))
    told = images.read_info(files[0])
    assert told["redraft:condition"] == "a red ball" and told["redraft:method"] == "fusion"
    assert cli("explain", files[2]).status == 0
    other = cli(*line[:2], "a blue dot", "--seed=5", f"--out={tmp_path / 'b'}")
    assert other.status == 0 and not torch.equal(
        picture(tmp_path / "b" / "a-blue-dot.png"), picture(files[0])
    )


def test_words_become_principal_components_where_nobody_asks_for_more(
    cli: Cli, words: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    said = cli("fuse", words, "--from", TEXT, "--to", IMAGE, *SMALL[:-1], "--steps=3", f"--out={run}")
    assert said.status == 0, said.err
    assert "PSNR 100" not in said.out and f"Of {IMAGE}'s latent 11 principal components give" in said.out
    model = Model.from_pretrained(run, device="cpu")
    assert model.run.spec.size == 1 and model.run.spec.channels == model.run.target.components == 11
    x = torch.rand(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    flat = model.bridge.view(model.bridge.wanted(x))
    torch.testing.assert_close(model.bridge.view(model.bridge.wanted(flat)), flat, atol=0.02, rtol=0)
    assert cli("generate", run, "a red ball", f"--out={tmp_path / 'out'}").status == 0
    assert cli("evaluate", run, words, f"--out={tmp_path / 'report'}").status == 0


def test_pictures_without_words_do_not_count_as_examples(cli: Cli, words: Path, tmp_path: Path) -> None:
    some, run = Path(shutil.copytree(words, tmp_path / "some")), tmp_path / "run"
    for file in sorted(some.glob("*.txt"))[::2]:
        file.unlink()
    said = cli("fuse", some, "--from", TEXT, "--to", IMAGE, *SMALL[:-1], "--steps=1", f"--out={run}")
    assert said.status == 0, said.err
    assert Model.from_pretrained(run, device="cpu").run.target.components in (5, 6)  # half of about 11


def test_evaluate_opens_with_what_the_latent_loses(
    cli: Cli, text_run: Path, words: Path, tmp_path: Path
) -> None:
    said = cli("evaluate", text_run, words, f"--out={tmp_path / 'report'}")
    assert said.status == 0, said.err
    table = said.out.split("Making and measuring")[1].splitlines()
    assert table[1].startswith("Held-out pictures come back from the latent with PSNR 100")
    assert any(line.startswith("draft ") for line in table)
    assert not any(line.startswith("refined") for line in table)
    assert "caption@1" in said.out


def test_a_fusion_is_compared_with_other_methods(cli: Cli, words: Path, tmp_path: Path) -> None:
    said = cli(
        "compare",
        words,
        "--methods=fusion,gan",
        "--task=text",
        f"--size={SIZE}",
        "--steps=2",
        "--device=cpu",
        f"--set=condition.expert={TEXT}",
        f"--set=fusion.target.latent={IMAGE}",
        "--set=fusion.networks.flow.blocks=2",
        "--set=networks.initializer_width=4",
        "--set=networks.solver_width=4",
        "--set=train.batch=4",
        "--seeds=1",
        f"--out={tmp_path / 'both'}",
    )
    assert said.status == 0, said.err
    assert (tmp_path / "both" / "index.html").exists()
    page = (tmp_path / "both" / "compare.json").read_text()
    assert '"fusion"' in page and '"gan"' in page


@pytest.mark.parametrize("sentence", ["x" * 256, "words/that.look like a/path.png", "ein roter Ball"])
def test_any_sentence_is_a_sentence(cli: Cli, text_run: Path, tmp_path: Path, sentence: str) -> None:
    said = cli("generate", text_run, sentence, f"--out={tmp_path / 'out'}")
    assert said.status == 0 and len(list((tmp_path / "out").iterdir())) == 1, said.err


def test_a_sentence_that_names_a_folder_is_a_sentence(
    cli: Cli, text_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path / "dot" / "a.png", 0)
    monkeypatch.chdir(tmp_path)
    assert cli("generate", text_run, "dot", "--out=out").status == 0
    assert [p.name for p in Path("out").iterdir()] == ["dot.png"]


@pytest.mark.parametrize("task", ["edges", "upscale", "colour", "recover"])
def test_pictures_become_pictures(cli: Cli, classes: Path, tmp_path: Path, task: str) -> None:
    line = ["fuse", classes, f"--task={task}", f"--from={IMAGE}", f"--to={IMAGE}", *SMALL, "--steps=1"]
    said = cli(*line, f"--out={tmp_path / 'run'}")
    assert said.status == 0, said.err
    made = redraft.Model.from_pretrained(tmp_path / "run", "cpu")(classes / "ball" / "00.png", variants=2)
    assert made.images.shape == (2, 3, SIZE, SIZE) and not torch.equal(made.images[0], made.images[1])


# --- exemplars


@pytest.fixture
def like(cli: Cli, class_run: Path, classes: Path, tmp_path: Path) -> Like:
    """redraft generate --like: the picture that comes out."""
    exemplar = classes / "ball" / "00.png"

    def run(name: str, condition: str, *more: str) -> Path:
        out = tmp_path / name
        said = cli("generate", class_run, condition, f"--like={exemplar}", *more, f"--out={out}")
        assert said.status == 0, said.err
        (file,) = out.iterdir()
        return file

    return run


def test_no_strength_and_the_same_condition_give_the_exemplar_back(like: Like, classes: Path) -> None:
    real = picture(classes / "ball" / "00.png")
    for file in (
        like("a", "dot", "--like-is=ball", "--strength=0"),
        like("b", "ball", "--like-is=ball"),
        like("c", "ball", "--like-is=ball", "--strength=1.7"),
    ):
        assert (picture(file) - real).abs().max() < 0.03  # three of 255 levels: the expert loses nothing


def test_strength_goes_from_the_exemplar_to_the_other_condition(like: Like, cli: Cli, classes: Path) -> None:
    real = picture(classes / "ball" / "00.png")
    files = [like(f"s{i}", "dot", "--like-is=ball", f"--strength={i / 2}") for i in range(3)]
    far = [float((picture(f) - real).abs().mean()) for f in files]
    assert far[0] < far[1] < far[2]
    told = images.read_info(files[2])
    assert told["redraft:like"].endswith("00.png") and told["redraft:like_is"] == "ball"
    assert "same pixels" in cli("explain", files[2]).out


def test_without_its_own_condition_the_likeliest_is_taken(like: Like) -> None:
    guess = picture(like("g", "dot"))
    named = [picture(like(name, "dot", f"--like-is={name}")) for name in ("ball", "dot")]
    assert any(torch.equal(guess, one) for one in named)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["dot", "--like=nowhere.png"], "no file nowhere.png"),
        (["dot", "--strength=1"], "name it with --like"),
        (["dot", "--like=PICTURE", "--strength=2.5"], "between 0 and 2"),
        (["dot", "--like=PICTURE", "--variants=2"], "one picture a condition"),
        (["dot", "--refine=3"], "--method solver --initializer"),
        (["", "--seed=1"], "condition is empty"),
    ],
)
def test_wrong_words_for_a_fusion(
    cli: Cli, class_run: Path, classes: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    given = [w.replace("PICTURE", str(classes / "ball" / "00.png")) for w in words]
    said = cli("generate", class_run, *given, f"--out={tmp_path / 'out'}")
    assert said.status == 2 and says in said.err and said.err.count("\n") == 1, said.err


def test_an_exemplar_of_words_needs_its_own(cli: Cli, text_run: Path, words: Path, tmp_path: Path) -> None:
    said = cli("generate", text_run, "a red dot", f"--like={words / '00.png'}", f"--out={tmp_path / 'out'}")
    assert said.status == 2 and "--like-is: a sentence" in said.err


def test_other_methods_have_no_residual(cli: Cli, recover_run: Path, discs: Path, tmp_path: Path) -> None:
    file = discs / "ball" / "01.png"
    said = cli("generate", recover_run, file, f"--like={file}", f"--out={tmp_path / 'out'}")
    assert said.status == 2 and "Only a fusion" in said.err


def test_cold_noise_makes_one_picture_and_is_replayed(cli: Cli, class_run: Path, tmp_path: Path) -> None:
    """At temperature 0 all variants are the mode of the noise; ``explain`` reads the temperature."""
    out = tmp_path / "cold"
    told = cli("generate", class_run, "ball", "--variants", 2, "--temperature", 0, "--out", out)
    assert told.status == 0, told.err
    one, other = sorted(out.glob("*.png"))
    assert torch.equal(picture(one), picture(other))
    assert cli("explain", other).status == 0
    hot = cli("generate", class_run, "ball", "--temperature", 3, "--out", tmp_path / "hot")
    assert hot.status != 0 and "between 0 and 2" in hot.err
