"""``redraft train --method piti --prior NAME``: diffusers' models and our own, kept, resumed, refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from painting import Cli, paint
from PIL import Image, ImageOps
from tests.nets.tiny_priors import alone, diffusers, net, pipeline, scheduler, vae

import redraft
from redraft.app import train as app
from redraft.core.errors import UsageError
from redraft.core.rng import stream
from redraft.training import checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
TINY = [
    *("networks.encoder.width=8", "networks.encoder.layers=1", "networks.encoder.heads=2"),
    *("train.batch=4", "train.checkpoint_every=1", "method.steps=2", "method.draft_steps=1"),
]
SET = [f"--set={line}" for line in TINY]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 pictures of 16 px and their negatives."""
    root = tmp_path_factory.mktemp("pairs")
    for i in range(12):
        paint(root / "trainB" / f"{i:02d}.png", i, 16)
        (root / "trainA").mkdir(exist_ok=True)
        ImageOps.invert(Image.open(root / "trainB" / f"{i:02d}.png")).save(root / "trainA" / f"{i:02d}.png")
    return root


@pytest.fixture
def prior(tmp_path: Path) -> Path:
    diffusers()
    torch.manual_seed(1)
    return alone(tmp_path / "prior")


def learn(
    data: Path, prior: Path | str | None, out: Path, *more: str, steps: int = 3, **options: object
) -> Path:
    return app.train(
        str(data),
        method="piti",
        prior=None if prior is None else str(prior),
        steps=steps,
        out=str(out),
        device="cpu",
        settings=[*TINY, *more],
        **options,  # type: ignore[arg-type]
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    return redraft.Model.from_pretrained(run, "cpu").method.state_dict()


def test_a_model_of_diffusers_is_begun_with_and_then_needed_no_more(
    pairs: Path, prior: Path, tmp_path: Path
) -> None:
    """Frozen throughout, its weights come out bit for bit; with all three stages they move."""
    theirs = diffusers().UNet2DModel.from_pretrained(prior).state_dict()
    still = learn(pairs, prior, tmp_path / "still", "method.encoder=1", "method.dropped=0")
    moved = learn(pairs, prior, tmp_path / "moved")
    shutil.rmtree(prior)
    for run, same in ((still, True), (moved, False)):
        state = weights(run)
        equal = {k for k, t in theirs.items() if torch.equal(t, state[f"initializer.net.{k}"])}
        # what is added to all keys alike has no effect, and so no gradient
        assert equal == set(theirs) if same else all("to_k.bias" in k for k in equal)
    told = yaml.safe_load((moved / "run.yaml").read_text())
    assert told["prior"]["name"] == str(prior) and told["task"]["size"] == 16
    assert told["method"]["schedule"]["steps"] == 100 and told["method"]["schedule"]["kind"] == "linear"
    model = redraft.Model.from_pretrained(moved, "cpu")
    made = model(str(pairs / "trainA" / "03.png"), variants=2)
    assert made.images.shape == (2, 3, 16, 16) and not torch.equal(made.images, made.drafts)
    events = (moved / "events.log").read_text()
    assert "The encoder stage ends at step 1" in events and "the joint stage begins" in events


def test_without_its_weights_the_network_is_the_same_and_fresh(
    pairs: Path, prior: Path, tmp_path: Path
) -> None:
    """And learns from the first step on: nothing in it is worth freezing."""
    kept = {}
    for fresh, stages in (("true", ["joint"]), ("false", ["encoder", "dropped conditions", "joint"])):
        run = learn(pairs, prior, tmp_path / fresh, f"prior.fresh={fresh}", steps=1)
        method = redraft.Model.from_pretrained(run, "cpu").method
        kept[fresh] = method.state_dict()
        assert list(method._stages()) == stages
    assert kept["true"].keys() == kept["false"].keys()
    key = "initializer.net.conv_in.weight"
    assert not torch.allclose(kept["true"][key], kept["false"][key], atol=0.01)


def test_a_run_trained_here_is_a_prior_with_its_own_size(
    cli: Cli, pairs: Path, discs: Path, tmp_path: Path
) -> None:
    diffusers()
    small = ["--set=networks.denoiser.channels=[16]", "--set=networks.denoiser.tokens=8"]
    line = ["train", discs, "--method=diffusion", "--task=none", "--size=16", "--steps=2", "--device=cpu"]
    said = cli(*line, f"--out={tmp_path / 'prior'}", *small, *SET[3:], "--set=method.min_snr=3")
    assert said.status == 0, said.err
    before = weights(tmp_path / "prior")
    said = cli(
        *("train", pairs, f"--prior={tmp_path / 'prior'}", f"--out={tmp_path / 'run'}", "--steps=1", *SET),
        *("--device=cpu", "--set=method.encoder=1", "--set=method.dropped=0"),
    )
    assert said.status == 0, said.err
    assert "method piti" in said.out and f"Prior: {tmp_path / 'prior'}" in said.out
    after = weights(tmp_path / "run")
    cfg = redraft.Model.from_pretrained(tmp_path / "run", "cpu").run.method
    assert (cfg.gamma, cfg.schedule.prediction) == (3.0, "sample")  # as it was taught
    assert torch.equal(after["initializer.net.conv_in.weight"], before["initializer.net.conv_in.weight"])
    said = cli("train", pairs, "--prior", tmp_path / "prior", "--size=48", "--steps=1", *SET)
    assert said.status == 2 and "has no other side: --size 16, or 32 or 64 by an upsampler" in said.err
    said = cli("train", pairs, "--prior", tmp_path / "run", "--steps=1", *SET)
    assert said.status == 2 and "is a model of method piti; a prior is a run trained here" in said.err


def test_a_latent_prior_brings_its_latent_as_it_is_scaled(pairs: Path, tmp_path: Path) -> None:
    diffusers()
    torch.manual_seed(2)
    place = pipeline(
        tmp_path / "prior",
        unet=net("UNet2DConditionModel", channels=4, size=8),
        scheduler=scheduler(beta_schedule="scaled_linear"),
        vae=vae(),
    )
    run = learn(pairs, place, tmp_path / "run", size=16)
    model = redraft.Model.from_pretrained(run, "cpu")
    assert not model.bridge.mean.any() and (model.bridge.std == 1).all()
    x = torch.rand(2, 3, 16, 16, generator=stream(1)) * 2 - 1
    theirs = diffusers().AutoencoderKL.from_pretrained(place / "vae").encode(x).latent_dist.mean * 0.25
    torch.testing.assert_close(model.method.cfg.scale * model.bridge.wanted(x), theirs, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="brings its own latent"):
        learn(pairs, place, tmp_path / "other", "target.latent=image:taef2")
    shutil.rmtree(place)
    made = redraft.Model.from_pretrained(run, "cpu")(str(pairs / "trainA" / "03.png"))
    assert made.images.shape == (1, 3, 16, 16)


class Killed(BaseException):
    """The machine goes off."""


@pytest.mark.parametrize("lora", [0, 2])
def test_killed_in_each_stage_it_goes_on_without_the_priors_folder(
    lora: int, pairs: Path, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps, one of each stage; the machine goes off behind each of the first two."""
    if lora:
        pytest.importorskip("peft", reason="an extra: redraft[lora]")
    settings = f"networks.lora={lora}"
    whole = weights(learn(pairs, prior, tmp_path / "whole", settings))
    save = checkpoint.Keeper.save

    def dies_behind(step: int) -> None:
        def saving(self: checkpoint.Keeper, state: dict, **more: object) -> None:
            save(self, state, **more)  # type: ignore[arg-type]
            if state["step"] == step:
                raise Killed

        monkeypatch.setattr(checkpoint.Keeper, "save", saving)

    for step in (1, 2):
        place = shutil.copytree(prior, tmp_path / f"prior{step}")
        dies_behind(step)
        with pytest.raises(Killed):
            learn(pairs, place, tmp_path / str(step), settings)
        monkeypatch.undo()
        shutil.rmtree(place)
        state = weights(learn(pairs, None, tmp_path / str(step), settings, resume=True))
        assert state.keys() == whole.keys() and all(torch.equal(t, whole[k]) for k, t in state.items())


def test_bad_priors_are_refused_in_a_sentence(cli: Cli, pairs: Path, prior: Path, tmp_path: Path) -> None:
    line, run = ["train", pairs, "--steps=2", "--device=cpu", *SET], tmp_path / "run"

    def refused(*more: object) -> str:
        said = cli(*line, f"--out={tmp_path / 'nothing'}", *more)
        assert said.status in (1, 2) and said.err.count("\n") == 1 and "Traceback" not in said.err
        return said.err

    with_it = f"--prior={prior}"
    needed = "--prior NAME: a run trained here (redraft train DATA --method diffusion)"
    assert needed in refused("--method=piti")
    assert "--prior is for --method piti" in refused("--method=pix2pix", with_it)
    assert "--prior is empty" in refused("--prior=")
    assert "is no diffusion model" in refused(f"--prior={pairs}")
    assert "PITI starts from a picture" in refused("--task=none", with_it)
    six = alone(tmp_path / "six", net(channels=6))
    assert "a prior for 3 channels fits" in refused(f"--prior={six}")
    four = alone(tmp_path / "four", net(channels=4, size=8))  # a latent's, without its autoencoder
    assert "a prior for 3 channels fits" in refused(f"--prior={four}")
    for setting in ("prior.name=other", "prior.size=32", "prior.latent=image:taef2"):
        assert "comes with the prior that --prior names" in refused(with_it, f"--set={setting}")
    for setting in ("method.schedule.steps=50", "method.scale=2", "networks.denoiser.patch=1"):
        assert "is as the prior has learnt with it" in refused(with_it, f"--set={setting}")
    adapters = refused(with_it, "--set=prior.fresh=true", "--set=networks.lora=2")
    assert "leaves nothing for networks.lora to adapt" in adapters
    assert not (tmp_path / "nothing").exists()

    assert cli(*line, with_it, f"--out={run}").status == 0
    torch.manual_seed(9)
    other = alone(tmp_path / "other")
    assert "has other weights" in refused(f"--prior={other}", f"--out={run}", "--resume")
    assert "There is no folder" in refused(f"--prior={tmp_path / 'typo'}", f"--out={run}", "--resume")
