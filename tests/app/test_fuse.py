"""Fusions from the command line: words to pictures, exemplars, a solver on top, and nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from painting import Cli, paint
from safetensors.torch import load_file
from toys import IMAGE, TEXT, Cells, Letters, at_hand

import redraft
from redraft.app import train as use_case
from redraft.app.examples import batches
from redraft.core import images
from redraft.core.types import Pair
from redraft.hub import bundle

Like = Callable[..., Path]
SIZE = 16
SMALL = [
    "--size=16",
    "--device=cpu",
    *("--set=networks.flow.blocks=2", "--set=networks.flow.width=8", "--set=train.batch=4"),
]
TINY = ["--set=networks.solver_width=4", "--set=networks.initializer_width=4", "--set=train.batch=4"]
CHAIN = "--set=method.langevin.steps=2"


def captioned(root: Path, n: int = 24, first: int = 0) -> Path:
    for i in range(n):
        paint(root / f"{i:02d}.png", first + i, SIZE)
        (root / f"{i:02d}.txt").write_text(f"a {('red', 'blue')[i % 2]} {('ball', 'dot', 'disc')[i % 3]}")
    return root


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captioned(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("classes")
    for i in range(48):
        paint(root / ("ball", "dot")[i % 2] / f"{i:02d}.png", i, SIZE)
    return root


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Cells:
    cells = Cells()
    at_hand(monkeypatch, Letters(), cells)
    return cells


@pytest.fixture(scope="module")
def text_run(words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fusion of words and pictures."""
    from redraft.app.fuse import fuse

    out = tmp_path_factory.mktemp("fused") / "text"
    settings = [line.removeprefix("--set=") for line in SMALL if line.startswith("--set=")]
    with pytest.MonkeyPatch.context() as patch:
        at_hand(patch, Letters(), Cells())
        more = {"size": SIZE, "steps": 4, "out": str(out), "device": "cpu"}
        return fuse(str(words), given=TEXT, wanted=IMAGE, settings=settings, **more)


@pytest.fixture(scope="module")
def class_run(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fusion of categories and pictures."""
    from redraft.app.fuse import fuse

    out = tmp_path_factory.mktemp("fused") / "class"
    settings = [line.removeprefix("--set=") for line in SMALL if line.startswith("--set=")]
    with pytest.MonkeyPatch.context() as patch:
        at_hand(patch, Letters(), Cells())
        more = {"size": SIZE, "steps": 40, "out": str(out), "device": "cpu"}
        return fuse(str(classes), given=None, wanted=IMAGE, settings=settings, **more)


def picture(file: Path) -> torch.Tensor:
    return images.to_tensor(images.read(str(file)))


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


# --- a solver on top


def test_a_solver_refines_a_fusion_that_is_gone_afterwards(
    cli: Cli, text_run: Path, words: Path, tmp_path: Path
) -> None:
    fusion, others = tmp_path / "fusion", captioned(tmp_path / "others", first=300)
    shutil.copytree(text_run, fusion)
    line = ["train", others, "--method=solver", *TINY[:1], TINY[2], CHAIN, f"--out={tmp_path / 'run'}"]
    said = cli(*line, f"--initializer={fusion}", "--steps=2", f"--set=target.latent={IMAGE}")
    assert said.status == 2 and "brings its own experts" in said.err
    said = cli(*line, f"--initializer={fusion}", "--steps=2")
    assert said.status == 0, said.err
    theirs, ours = load_file(fusion / "model" / "model.safetensors"), tmp_path / "run" / "model"
    shutil.rmtree(fusion)
    mine = load_file(ours / "model.safetensors")
    scales = [name for name in theirs if name.startswith("bridge.")]
    assert scales and all(torch.equal(theirs[name], mine[name]) for name in scales)  # on other pictures
    flow = [name for name in theirs if name.startswith("method.initializer.")]
    assert flow and all(torch.equal(theirs[name], mine[name]) for name in flow)
    again = cli(*line, "--resume", "--steps=4")
    assert again.status == 0, again.err
    mine = load_file(ours / "model.safetensors")
    assert all(torch.equal(theirs[name], mine[name]) for name in scales)
    for k in (0, 2):
        said = cli("generate", tmp_path / "run", "a red dot", f"--refine={k}", f"--out={tmp_path / f'g{k}'}")
        assert said.status == 0, said.err
    a, b = (picture(tmp_path / f"g{k}" / "a-red-dot.png") for k in (0, 2))
    assert not torch.equal(a, b)
    draft = redraft.Model.from_pretrained(text_run, "cpu")("a red dot").images[0]
    assert (a - draft).abs().max() < 0.005  # the fusion's own, to a level


def test_a_fusion_of_two_sides_has_no_solver(cli: Cli, tmp_path: Path) -> None:
    for i in range(24):
        paint(tmp_path / "sides" / "trainA" / f"h{i}.png", i, SIZE)
        paint(tmp_path / "sides" / "trainB" / f"z{i}.png", i + 90, SIZE)
    line = ["fuse", tmp_path / "sides", f"--to={IMAGE}", *SMALL, "--steps=2", f"--out={tmp_path / 'run'}"]
    said = cli(*line)
    assert said.status == 0, said.err
    said = cli(
        "train", tmp_path / "sides", "--method=solver", f"--initializer={tmp_path / 'run'}", "--steps=1"
    )
    assert said.status == 2 and "model of method cut" in said.err
    said = cli("fuse", tmp_path / "sides", f"--from={TEXT}", "--task=unpaired", f"--to={IMAGE}", "--size=16")
    assert said.status == 2 and "leave --from" in said.err
    given = sorted((tmp_path / "sides" / "trainA").iterdir())[0]
    said = cli("generate", tmp_path / "run", given, f"--out={tmp_path / 'out'}")
    assert said.status == 0, said.err


# --- an autoencoder of one's own


@pytest.fixture(scope="module")
def own(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder of maps."""
    from redraft.app.train import train

    out = tmp_path_factory.mktemp("own") / "run"
    maps = [
        "networks.autoencoder.latent=spatial",
        "networks.autoencoder.factor=4",
        "networks.autoencoder.numbers=4",
    ]
    more = ["networks.autoencoder.width=4", "networks.solver_width=4", "train.batch=4"]
    return train(
        str(classes),
        task="none",
        method="autoencoder",
        size=SIZE,
        steps=2,
        out=str(out),
        device="cpu",
        settings=[*maps, *more],
    )


def test_a_latent_model_needs_no_autoencoder_beside_it(
    cli: Cli, own: Path, classes: Path, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(own, tmp_path / "own"))
    line = ["train", classes, "--method=ccoopnets", "--task=category", *TINY, CHAIN, "--size=16", "--steps=2"]
    said = cli(*line, f"--set=target.latent=image:{mine}", f"--out={tmp_path / 'run'}", "--device=cpu")
    assert said.status == 0 and "gives held-out pictures back" in said.out, said.err
    fused = cli("fuse", classes, f"--to=image:{mine}", *SMALL, "--steps=2", f"--out={tmp_path / 'fused'}")
    assert fused.status == 0, fused.err
    moved = Path(shutil.copytree(tmp_path / "run" / "model", tmp_path / "moved"))
    shutil.rmtree(mine)
    model = redraft.Model.from_pretrained(moved, "cpu")
    before = model("ball", seed=1).images
    model.save_pretrained(moved, replace=True)  # over the copy that it was read from
    assert torch.equal(redraft.Model.from_pretrained(moved, "cpu")("ball", seed=1).images, before)
    solved = ["train", classes, "--method=solver", *TINY[:1], TINY[2], CHAIN, f"--out={tmp_path / 'solved'}"]
    said = cli(*solved, f"--initializer={tmp_path / 'fused'}", "--steps=2")
    assert said.status == 0, said.err
    shutil.rmtree(tmp_path / "fused")
    said = cli(*solved, "--resume", "--steps=3")
    assert said.status == 0, said.err
    assert cli("generate", tmp_path / "solved", "ball", f"--out={tmp_path / 'out'}").status == 0


# --- resume


class Killed(BaseException):
    pass


def dies_at(step: int) -> Callable[..., Callable[[int], Pair]]:
    """Batches that end with the process, as far as anybody can tell."""

    def dying(*of: Any) -> Callable[[int], Pair]:
        batch_at = batches(*of)

        def batch(t: int) -> Pair:
            if t >= step:
                raise Killed
            return batch_at(t)

        return batch

    return dying


@pytest.mark.parametrize("method", ["fusion", "ccoopnets"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(
    cli: Cli, words: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = SMALL[2:] if method == "fusion" else [*TINY, CHAIN]
    experts = [f"--set=condition.expert={TEXT}", f"--set=target.latent={IMAGE}"]
    line = ["train", words, "--task=text", f"--method={method}", "--size=16", "--device=cpu", *own, *experts]
    line = [*line, "--set=train.checkpoint_every=2"]
    line = [*line, "--steps=6"]
    assert cli(*line, f"--out={tmp_path / 'whole'}").status == 0
    with monkeypatch.context() as patch:
        patch.setattr(use_case, "batches", dies_at(3))
        with pytest.raises(Killed):
            cli(*line, f"--out={tmp_path / 'cut'}")
    assert not (tmp_path / "cut" / "model").exists()
    monkeypatch.setenv("REDRAFT_CACHE", str(tmp_path / "another"))  # what experts made is made again
    said = cli(*line, "--resume", f"--out={tmp_path / 'cut'}")
    assert said.status == 0 and "Goes on at step 2" in said.out, said.err
    whole, cut = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, cut[name]), name


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
