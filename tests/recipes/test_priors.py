"""A prior's schedule is its scheduler's; what does not fit is told what would."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.nets.tiny_priors import alone, diffusers, net, pipeline, scheduler, vae

from redraft.core import config
from redraft.core.errors import BundleError, UsageError
from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Spec
from redraft.nets.denoiser import Denoiser
from redraft.nets.experts import load as load_expert
from redraft.nets.prior import read
from redraft.recipes.prior import FLOWS, NOISED, Prior, enlarging, fit, load, schedule_of
from redraft.sampling.diffusion import Process, Schedule, levels, sample
from redraft.spaces.bridge import REACH, Bridge


def settings(kind: str = "DDPMScheduler", **given: Any) -> dict[str, Any]:
    """What a scheduler's file says."""
    return json.loads(scheduler(kind, **given).to_json_string())


# --- schedules


@pytest.mark.parametrize("kind", NOISED)
def test_noise_is_added_as_each_scheduler_adds_it(kind: str) -> None:
    made = scheduler(kind, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    schedule = schedule_of(json.loads(made.to_json_string()), "p")
    alpha, _ = levels(schedule)
    torch.testing.assert_close(alpha.square(), made.alphas_cumprod.double(), rtol=1e-4, atol=1e-7)
    assert schedule.prediction == "epsilon" and schedule.steps == 100


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_noised_pictures_and_predictions_are_the_schedulers(beta_schedule: str, prediction: str) -> None:
    made = scheduler(beta_schedule=beta_schedule, prediction_type=prediction, clip_sample=False)
    process = Process(schedule_of(json.loads(made.to_json_string()), "p"))
    x0, eps = torch.randn(2, 3, 3, 4, 4, generator=stream(1))
    t = torch.tensor([0, 50, 99])
    x_t = process.noised(x0, eps, t)
    torch.testing.assert_close(x_t, made.add_noise(x0, eps, t))
    target = process.target(x0, eps, t)
    if prediction == "v_prediction":
        torch.testing.assert_close(target, made.get_velocity(x0, eps, t))
    step = made.step(target[1:2], 50, x_t[1:2], generator=stream(2))
    torch.testing.assert_close(step.pred_original_sample, x0[1:2], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", FLOWS)
def test_flows(kind: str) -> None:
    assert schedule_of(settings(kind), "p") == Schedule(kind="flow", steps=100, prediction="flow")


def test_solvers_that_are_used_for_flows() -> None:
    given = settings("DPMSolverMultistepScheduler", prediction_type="flow_prediction", use_flow_sigmas=True)
    assert schedule_of(given, "p").kind == "flow"


def test_what_an_old_file_leaves_out_is_as_its_class_has_it() -> None:
    """As Stable Diffusion 1's file, which says no prediction."""
    said = {
        "_class_name": "PNDMScheduler",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
    }
    schedule = schedule_of(said, "p")
    assert schedule == Schedule(
        kind="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction="epsilon"
    )


CONTINUOUS = {
    "_class_name": "EulerDiscreteScheduler",
    "prediction_type": "v_prediction",
    "timestep_type": "continuous",
}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"_class_name": "ScoreSdeVeScheduler"}, "not known here, ScoreSdeVeScheduler"),
        ({"_class_name": "DDPMScheduler", "prediction_type": "noise"}, "predicts noise, which is not"),
        (CONTINUOUS, "predicts v_prediction at continuous times"),
        ({"_class_name": "DDPMScheduler", "beta_schedule": "sigmoid"}, "a table of its own"),
        ({"_class_name": "DDPMScheduler", "rescale_betas_zero_snr": True}, "a table of its own"),
        ({"_class_name": "DDPMScheduler", "trained_betas": [0.1] * 1000}, "a table of its own"),
        ({"_class_name": "DDPMScheduler", "trained_betas": [0.1, 0.2]}, "a table of its own"),
        ({"_class_name": "DDPMScheduler", "num_train_timesteps": "many"}, r"cannot be read: [^\n]*\Z"),
        ({"_class_name": "DDPMScheduler", "beta_schedule": "steep"}, "has a scheduler that cannot be read"),
    ],
)
def test_schedulers_that_are_not_known_are_named(said: dict[str, Any], why: str) -> None:
    diffusers()
    with pytest.raises(BundleError, match=why):
        schedule_of(said, "p")


# --- priors


def test_a_prior_on_pixels(tmp_path: Path) -> None:
    loaded = load(str(alone(tmp_path / "p", net(), scheduler(prediction_type="v_prediction"))))
    prior = loaded.prior
    assert (prior.channels, prior.size, prior.multiple, prior.scale, prior.latent) == (3, 16, 2, 1.0, "")
    assert prior.schedule.prediction == "v" and loaded.scales == {}
    assert config.from_dict(Prior, json.loads(json.dumps(config.to_dict(prior)))) == prior


def test_a_prior_of_a_latent_sees_it_as_its_own_pipeline_does(tmp_path: Path) -> None:
    """The bridge's scale and the prior's undo one another: what is noised is the expert's latent."""
    unet = net("UNet2DConditionModel", 4, 8)
    loaded = load(str(pipeline(tmp_path / "sd", unet=unet, scheduler=scheduler(), vae=vae(4))))
    prior = loaded.prior
    assert prior.latent == f"image:{tmp_path / 'sd' / 'vae'}" and prior.scale == REACH
    expert = load_expert(prior.latent)
    task = Spec(size=16, channels=3, condition="none")
    between = Bridge(task, lambda c, n: None, target=expert)
    x = torch.rand(2, 3, 16, 16, generator=stream(1)) * 2 - 1
    between.fit(None, expert(x))
    between.rescale(loaded.scales)
    fit(prior, between.spec, 16)
    torch.testing.assert_close(prior.scale * between.wanted(x), expert(x))


def test_the_latent_of_a_prior_in_the_hub_has_the_name_that_every_machine_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = net("UNet2DConditionModel", 4, 8)
    folder = pipeline(tmp_path / "sd", unet=unet, scheduler=scheduler(), vae=vae(4))
    monkeypatch.setattr("redraft.recipes.prior.read", lambda name: read(str(folder)))
    assert load("owner/tiny").prior.latent == "image:owner/tiny/vae"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "flow"])
def test_a_prior_makes_the_pictures_that_diffusers_makes_of_it(prediction: str, tmp_path: Path) -> None:
    network, rule = net().eval(), {"prediction_type": prediction, "beta_schedule": "scaled_linear"}
    if prediction == "flow":
        made = noise_ = scheduler(FLOWS[0])
        solver = "flow-euler"
        made.set_timesteps(sigmas=[1 - i / 10 for i in range(10)])  # as its pipelines do
    else:
        noise_, solver = scheduler("PNDMScheduler", **rule), "ddim"
        made = scheduler("DDIMScheduler", **rule, timestep_spacing="trailing", clip_sample=False)
        made.set_timesteps(10)
    loaded = load(str(alone(tmp_path / "p", network, noise_)))
    x = noise = torch.randn(2, 3, 16, 16, generator=stream(3))
    spec = Spec(size=16, channels=3, condition="none")
    kind, settings_, patch = loaded.prior.denoiser.of(spec)
    denoiser = Denoiser.of(kind, settings_, spec, patch=patch, first_t=loaded.prior.first_t).eval()
    denoiser.fill(loaded.state)
    process = Process(loaded.prior.schedule)
    ours, _ = sample(process, denoiser, noise, BatchNoise(stream(4)), steps=10, scheduler=solver)
    with torch.no_grad():
        for t in made.timesteps:
            x = made.step(network(x, t).sample, t, x, return_dict=False)[0]
    torch.testing.assert_close(ours, x, rtol=1e-3, atol=1e-3)


def test_what_does_not_fit_is_told_what_would(tmp_path: Path) -> None:
    pixels = load(str(alone(tmp_path / "p"))).prior
    fit(pixels, Spec(size=24, channels=3, condition="none"), 24)
    with pytest.raises(
        UsageError, match=r"makes colour pictures \(3 channels\), and grey ones \(1\) are wanted"
    ):
        fit(pixels, Spec(size=16, channels=1, condition="none"), 16)
    with pytest.raises(UsageError, match=r"multiple of 16 px, not 27 .* 16 px\): --size 16 or --size 32"):
        fit(pixels, Spec(size=27, channels=3, condition="none"), 27)
    unet = net("UNet2DConditionModel", 4, 8)
    latent = load(str(pipeline(tmp_path / "sd", unet=unet, scheduler=scheduler(), vae=vae(4)))).prior
    fit(latent, Spec(size=8, channels=4, condition="none"), 16)
    with pytest.raises(UsageError, match=r"multiple of 16 px, not 18 .* 16 px\): --size 16 or --size 32"):
        fit(latent, Spec(size=9, channels=4, condition="none"), 18)
    with pytest.raises(UsageError, match="makes 4-channel latents .* colour ones"):
        fit(latent, Spec(size=16, channels=3, condition="none"), 16)
    own = Prior(name="run", channels=3, size=32, multiple=0)
    fit(own, Spec(size=32, channels=3, condition="none"), 32)
    with pytest.raises(UsageError, match="no other side: --size 32, or 64 or 128 by an upsampler"):
        fit(own, Spec(size=64, channels=3, condition="none"), 64)
    in_latents = replace(own, latent="image:taef2", size=8)
    with pytest.raises(UsageError, match=r"at 64 px and has no other side: --size 64\.$"):
        fit(in_latents, Spec(size=16, channels=3, condition="none"), 128)
    assert [enlarging(own, n) for n in (16, 32, 48, 64, 128, 256)] == [1, 1, 1, 2, 4, 1]
    assert [enlarging(pixels, n) for n in (16, 24, 32, 48, 64)] == [1, 1, 2, 1, 4]
    assert enlarging(in_latents, 16) == 1


def test_behind_an_upsampler_sides_are_told_of_the_pictures() -> None:
    wide = Prior(name="p", channels=3, size=64, multiple=8)
    fit(wide, Spec(size=64, channels=3, condition="none"), 256, by=4)
    with pytest.raises(UsageError, match=r"made 4 times .* of 32 px, not 80 .*: --size 64 or --size 96"):
        fit(wide, Spec(size=20, channels=3, condition="none"), 80, by=4)
    own = Prior(name="run", channels=3, size=32, multiple=0)
    with pytest.raises(UsageError, match=r"at 32 px and has no other side: --size 64\.$"):
        fit(own, Spec(size=16, channels=3, condition="none"), 32, by=2)
    odd = replace(own, size=28)  # whose double no picture's side can be
    with pytest.raises(UsageError, match="no other side: --size 112 by an upsampler"):
        fit(odd, Spec(size=64, channels=3, condition="none"), 64)
    with pytest.raises(UsageError, match=r"--size 512, or 1024 by an upsampler\.$"):
        fit(replace(own, size=512), Spec(size=64, channels=3, condition="none"), 64)
