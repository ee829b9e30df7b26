"""``redraft train --method piti --prior NAME --size N`` where N is 2 or 4 times the prior's side."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from painting import Cli, paint
from PIL import Image, ImageOps
from tests.nets.tiny_priors import alone, diffusers

import redraft
from redraft.app.refuse import refuse_run
from redraft.core.errors import UsageError
from redraft.core.rng import stream
from redraft.methods.denoising import told_by
from redraft.methods.upsampler import quantised
from redraft.recipes import RECIPES, Run, build
from redraft.tasks.pairs import PictureToPicture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
TINY = [
    *("networks.encoder.width=8", "networks.encoder.layers=1", "networks.encoder.heads=2"),
    *("networks.upsampler.channels=[16]", "networks.upsampler.tokens=8", "networks.solver_width=4"),
    *("train.batch=4", "train.checkpoint_every=1", "method.steps=2", "method.draft_steps=1"),
    "method.upsampler.steps=2",
]
SET = [f"--set={line}" for line in TINY]
LAST = ["upsampler_encoder", "upsampler", "critic"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 pictures of 32 px and their negatives."""
    root = tmp_path_factory.mktemp("pairs")
    for i in range(8):
        paint(root / "trainB" / f"{i:02d}.png", i, 32)
        (root / "trainA").mkdir(exist_ok=True)
        ImageOps.invert(Image.open(root / "trainB" / f"{i:02d}.png")).save(root / "trainA" / f"{i:02d}.png")
    return root


def test_a_priors_pictures_are_enlarged_by_a_fourth_stage(cli: Cli, pairs: Path, tmp_path: Path) -> None:
    diffusers()
    small = ["--set=networks.denoiser.channels=[16]", "--set=networks.denoiser.tokens=8", *SET[-3:-1]]
    line = [pairs / "trainB", "--method=diffusion", "--task=none", "--size=16", "--steps=2", "--device=cpu"]
    said = cli("train", *line, f"--out={tmp_path / 'prior'}", *small)
    assert said.status == 0, said.err
    line = ["train", pairs, "--prior", tmp_path / "prior", "--size=32", "--device=cpu", *SET]
    said = cli(*line, f"--out={tmp_path / 'run'}", "--steps=5")
    assert said.status == 0, said.err
    assert "Its 16 px are made 2 times as large by an upsampler." in said.out
    assert "The joint stage ends at step 3; the upsampler stage begins." in said.out
    model = redraft.Model.from_pretrained(tmp_path / "run", "cpu")
    assert list(model.method.networks) == ["encoder", "initializer", *LAST]
    assert (
        model.run.method.upsampler.factor == 2 and model.run.train.lr.keys() == model.method.networks.keys()
    )
    made = model(str(pairs / "trainA" / "03.png"), variants=2)
    assert made.images.shape == made.drafts.shape == (2, 3, 32, 32)
    assert model.method.initializer.z_shape == (3, 16, 16)
    said = cli(*line, f"--out={tmp_path / 'other'}", "--steps=5", "--set=method.upsampler.factor=1")
    assert said.status == 2 and "--size 16, or 32 or 64 by an upsampler" in said.err
    assert said.err.count("\n") == 1 and not (tmp_path / "other").exists()


def test_a_model_of_diffusers_is_enlarged_too_unless_it_is_told_to_take_the_side_itself(
    cli: Cli, pairs: Path, tmp_path: Path
) -> None:
    diffusers()
    torch.manual_seed(1)
    line = ["train", pairs, f"--prior={alone(tmp_path / 'prior')}", "--size=32", "--steps=4", "--device=cpu"]
    sides = {}
    for name, more in (("enlarged", []), ("told", ["--set=method.upsampler.factor=1"])):
        said = cli(*line, f"--out={tmp_path / name}", *SET, *more)
        assert said.status == 0, said.err
        model = redraft.Model.from_pretrained(tmp_path / name, "cpu")
        sides[name] = model.method.initializer.z_shape[-1], len(model.method.networks)
    assert sides == {"enlarged": (16, 5), "told": (32, 2)}


def test_a_penalty_on_its_critic_does_not_go_with_shards() -> None:
    run = RECIPES["classic"](the_run().task, "piti", 8, 0).override([*TINY, "train.shard=true"])
    refuse_run(run, 1)
    with pytest.raises(UsageError, match=r"method\.upsampler\.gradient_penalty=0"):
        refuse_run(run.override(["method.upsampler.factor=2"]), 1)


def the_run(*settings: str) -> Run:
    task = PictureToPicture(size=32, channels=3, condition_channels=3)
    return RECIPES["modern"](task, "piti", 8, 0).override([*TINY, *settings])


def test_rates_are_those_of_the_networks_that_are_there() -> None:
    """Also where a run is changed once more, as in a comparison."""
    plain = the_run()
    assert list(plain.train.lr) == ["encoder", "initializer"]
    whole = plain.override(["method.upsampler.factor=2", "train.lr.upsampler=0.5"])
    assert set(whole.train.lr) == {"encoder", "initializer", *LAST} and whole.train.lr["upsampler"] == 0.5
    assert set(whole.train.ema) >= set(LAST) and whole == whole.override([])
    without = whole.override(["method.upsampler.adversarial=0"])
    assert set(without.train.lr) == {"encoder", "initializer", *LAST[:2]}
    assert list(build(without).networks) == ["encoder", "initializer", *LAST[:2]]
    assert Run.from_dict(whole.to_dict()) == whole


def test_without_an_upsampler_nothing_is_added() -> None:
    diffusers()
    plain, larger = build(the_run()).state_dict(), build(the_run("method.upsampler.factor=2")).state_dict()
    assert not any(k.startswith("upsampler") for k in plain)
    assert any(k.startswith("upsampler.critic.") for k in larger) and "upsampler.begun" in larger


@pytest.mark.parametrize("recipe", ["modern", "classic"])
def test_it_begins_at_its_plain_prediction_to_the_bit(recipe: str) -> None:
    """The classic one at 0, as released networks do."""
    diffusers()
    run = RECIPES[recipe](the_run().task, "piti", 8, 0).override([*TINY, "method.upsampler.factor=2"])
    up, x_t = build(run).upsampler, torch.randn(2, 3, 32, 32, generator=stream(1))
    low, c = up.reduced(x_t).tanh(), torch.randn(2, 3, 32, 32, generator=stream(2))
    t = torch.tensor([3, 700])
    made = up._seeing(low)(x_t, t, *told_by(up.encoder, c))
    plain = up.plain(x_t, t, up.blown(quantised(low)))
    assert torch.equal(made, plain if recipe == "modern" else torch.zeros_like(plain))
    assert run.method.upsampler.plain == (recipe == "modern")


def test_what_cannot_be_enlarged_is_refused_in_a_sentence(cli: Cli, pairs: Path, tmp_path: Path) -> None:
    diffusers()
    line = ["train", pairs, f"--prior={alone(tmp_path / 'prior')}", "--size=32", "--steps=4", "--device=cpu"]
    for setting, word in (
        ("method.upsampler.factor=3", "method.upsampler.factor is 1 (none), 2 or 4, not 3"),
        ("method.upsampler.share=1", "method.upsampler.share is a share of the training"),
        ("method.upsampler.degraded.blur=2", "blur is a share"),
        ("networks.upsampler.channels=[17]", "networks.upsampler.channels are multiples of 16"),
        ("method.upsampler.schedule.kind=flow", "method.upsampler.scheduler=dpm++ is not for schedules"),
    ):
        said = cli(*line, f"--out={tmp_path / 'run'}", *SET, f"--set={setting}")
        assert said.status == 2 and word in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
