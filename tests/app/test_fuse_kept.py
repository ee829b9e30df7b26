"""Solvers on fusions, autoencoders of one's own, runs that were stopped: nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fusing import CHAIN, SIZE, SMALL, TINY, captioned, picture
from painting import Cli, paint
from safetensors.torch import load_file
from toys import IMAGE, TEXT

import redraft
from redraft.app import train as use_case
from redraft.app.examples import batches
from redraft.core.types import Pair

pytestmark = pytest.mark.usefixtures("toys")


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


def test_a_run_goes_on_with_the_copy_of_an_autoencoder_that_is_gone(
    cli: Cli, own: Path, classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = Path(shutil.copytree(own, "own"))
    line = ["train", classes, "--method=ccoopnets", "--task=category", *TINY, CHAIN, "--size=16"]
    line = [*line, f"--set=target.latent=image:{mine}", "--device=cpu"]
    run = Path("runs") / f"{classes.name}-category-ccoopnets"  # the usual place
    assert cli(*line, "--steps=2").status == 0
    shutil.rmtree(mine)
    said = cli(*line, "--steps=3", "--resume")
    assert said.status == 0 and f"image:{mine} gives held-out pictures back" in said.out, said.err
    assert cli(*line, "--steps=4", "--resume", f"--out={run}").status == 0
    other = [*line, "--set=target.latent=image:another", "--steps=5", "--resume"]
    said = cli(*other)
    assert said.status == 1 and "begun with target.latent = 'image:own'" in said.err
    shutil.rmtree(run / "experts")
    said = cli(*line, "--steps=5", "--resume")
    assert said.status == 2 and "not here any more" in said.err and str(run / "experts") in said.err


# --- held back


@pytest.mark.parametrize(("every", "told"), [(4, False), (20, True)])
def test_that_too_few_are_there_to_be_held_back_is_told(
    cli: Cli, words: Path, tmp_path: Path, every: int, told: bool
) -> None:
    line = ["fuse", words, "--from", TEXT, "--to", IMAGE, *SMALL, "--steps=2"]
    said = cli(*line, f"--set=method.hold_back={every}", f"--out={tmp_path / 'run'}")
    assert said.status == 0 and ("too few to hold every 20th back" in said.out) == told, said.err


# --- resume


def test_other_components_are_those_of_another_run(cli: Cli, words: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    line = ["fuse", words, "--from", TEXT, "--to", IMAGE, *SMALL[:-1], f"--out={run}"]
    assert cli(*line, "--set=target.components=4", "--steps=2").status == 0
    said = cli(*line, "--set=target.components=5", "--steps=3", "--resume")
    assert said.status == 1 and "begun with target.components = 4, not 5" in said.err, said.err
    assert said.err.count("\n") == 1
    (run / "run.yaml").write_text("{")  # which is written anew
    said = cli(*line, "--set=target.components=4", "--steps=3", "--resume")
    assert said.status == 0, said.err


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
