"""Folders of diffusion models: diffusers itself writes them, and what is read must predict as it does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_priors import KINDS, alone, net, pipeline, scheduler, vae
from torch import Tensor

from redraft.core.errors import BundleError, UsageError
from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.denoiser import Denoiser
from redraft.nets.experts import load as load_expert
from redraft.nets.experts.hugging import quiet
from redraft.nets.prior import read

WEIGHTS = "diffusion_pytorch_model.safetensors"


def denoiser(folder: Path, channels: int = 3, size: int = 16) -> Denoiser:
    """As a run builds it from what is read."""
    found, state = read(str(folder))
    spec = Spec(size=size, channels=channels, condition="none")
    made = Denoiser.of(found.kind, json.loads(found.config), spec)
    made.fill(state)
    return made.eval()


def noise(channels: int = 3, size: int = 16, n: int = 2) -> Tensor:
    return torch.randn(n, channels, size, size, generator=stream(1))


def predicted(network: Any, x: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
    """By diffusers alone."""
    network.eval()
    if type(network).__name__ == "UNet2DModel":
        return network(x, t).sample
    more = (
        {"added_cond_kwargs": {"resolution": None, "aspect_ratio": None}}
        if "Pix" in str(type(network))
        else {}
    )
    return network(x, encoder_hidden_states=tokens, timestep=t, **more).sample


@pytest.mark.parametrize("kind", KINDS)
def test_a_denoiser_predicts_as_the_network_that_was_saved(kind: str, tmp_path: Path) -> None:
    network = net(kind)
    mine, x, t = denoiser(alone(tmp_path / "prior", network)), noise(), torch.tensor([3, 70])
    tokens = torch.randn(2, 5, mine.tokens, generator=stream(2))
    with torch.no_grad():
        torch.testing.assert_close(mine(x, t, tokens), predicted(network, x, t, tokens))


@pytest.mark.parametrize("kind", KINDS)
def test_learned_variances_are_understood_and_left_out(kind: str, tmp_path: Path) -> None:
    network = net(kind, out_channels=6)
    mine, x, t = denoiser(alone(tmp_path / "prior", network)), noise(), torch.tensor([3, 70])
    tokens = torch.randn(2, 5, mine.tokens, generator=stream(2))
    with torch.no_grad():
        assert mine(x, t, tokens).shape == x.shape
        torch.testing.assert_close(mine(x, t, tokens), predicted(network, x, t, tokens)[:, :3])


@pytest.mark.parametrize("kind", KINDS)
def test_other_sides_are_made_as_far_as_is_said(kind: str, tmp_path: Path) -> None:
    folder = alone(tmp_path / "prior", net(kind))
    found, _ = read(str(folder))
    assert (found.kind, found.channels, found.size, found.multiple) == (kind, 3, 16, 2)
    x, t = noise(size=14), torch.tensor([3, 70])
    with torch.no_grad():
        assert denoiser(folder, size=14)(x, t).shape == x.shape


def test_a_pipeline_of_a_latent_has_its_autoencoder_beside_it(tmp_path: Path) -> None:
    folder = pipeline(
        tmp_path / "sd", unet=net("UNet2DConditionModel", 4, 8), scheduler=scheduler(), vae=vae(4)
    )
    for name in (folder, folder / "unet"):  # the pipeline, or its network
        found, _ = read(str(name))
        assert found.vae == folder / "vae" and found.channels == 4
        assert found.scheduler["_class_name"] == "DDPMScheduler"
    expert = load_expert(f"image:{found.vae}")
    assert expert.shape(16) == (4, 8, 8)


def test_pipelines_in_other_layouts(tmp_path: Path) -> None:
    transformer = net("PixArtTransformer2DModel", 4, 8, out_channels=8)
    folder = pipeline(tmp_path / "pixart", transformer=transformer, scheduler=scheduler(), vae=vae(4))
    assert read(str(folder))[0].kind == "PixArtTransformer2DModel"
    old = pipeline(tmp_path / "old", unet=net(), scheduler=scheduler())  # all in one folder
    for part in ("unet", "scheduler"):
        for file in (old / part).iterdir():
            file.rename(old / file.name)
        (old / part).rmdir()
    found, _ = read(str(old))
    assert found.kind == "UNet2DModel" and found.vae is None


def test_a_name_of_the_hub_is_found_in_its_cache_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    unet = net("UNet2DConditionModel", 4, 8)
    cached = tmp_path / "models--owner--tiny"
    pipeline(cached / "snapshots" / "abc", unet=unet, scheduler=scheduler(), vae=vae(4))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    found, state = read("owner/tiny")
    assert found.vae == cached / "snapshots" / "abc" / "vae" and len(state) == len(unet.state_dict())
    assert "hf download owner/other --local-dir FOLDER" in refused("owner/other", UsageError)


def test_weights_in_half_precision_are_read_as_float32(tmp_path: Path) -> None:
    network = net()
    with quiet("diffusers"):
        network.half().save_pretrained(tmp_path / "prior", variant="fp16")
        scheduler().save_pretrained(tmp_path / "prior")
    _, state = read(str(tmp_path / "prior"))
    assert {t.dtype for t in state.values()} == {torch.float32}
    torch.testing.assert_close(state["conv_in.weight"], network.float().conv_in.weight)


def test_weights_in_several_files(tmp_path: Path) -> None:
    network = net()
    alone(tmp_path / "prior", network)
    (tmp_path / "prior" / WEIGHTS).unlink()
    with quiet("diffusers"):
        network.save_pretrained(tmp_path / "prior", max_shard_size="50KB")
    assert len(list((tmp_path / "prior").glob("*.safetensors"))) > 1
    _, state = read(str(tmp_path / "prior"))
    assert all(torch.equal(t, state[k]) for k, t in network.state_dict().items())


def test_the_fingerprint_is_of_settings_and_weights_not_of_the_place(tmp_path: Path) -> None:
    network = net()
    a = read(str(alone(tmp_path / "a", network)))[0].fingerprint
    b = read(str(shutil.copytree(tmp_path / "a", tmp_path / "b")))[0].fingerprint
    network.conv_in.bias.data += 1
    assert a == b != read(str(alone(tmp_path / "c", network)))[0].fingerprint


# --- what is refused, in one sentence


def refused(folder: Path | str, error: type[Exception] = BundleError) -> str:
    with pytest.raises(error) as caught:
        read(str(folder))
    return str(caught.value)


def test_folders_that_are_no_diffusion_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no diffusion model: there is neither model_index.json nor config.json" in refused(
        tmp_path / "empty"
    )
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "bert"}')
    assert "tells of no class of diffusers; a prior is one of its" in refused(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{")
    assert "cannot be read as JSON" in refused(tmp_path / "empty")
    assert "tells of AutoencoderKL" in refused(alone(tmp_path / "vae", vae()))
    assert "without unet/ or transformer/" in refused(pipeline(tmp_path / "pipe", scheduler=scheduler()))


@pytest.mark.parametrize("side", ["big", -4, [16, -1]])
def test_a_side_that_is_none(side: object, tmp_path: Path) -> None:
    file = alone(tmp_path / "prior") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sample_size": side}))
    assert "sample_size is" in refused(tmp_path / "prior")


def test_a_checkpoint_in_one_file_is_to_be_converted(tmp_path: Path) -> None:
    file = tmp_path / "sd.ckpt"
    torch.save({}, file)
    assert "from_single_file(FILE).save_pretrained(FOLDER)" in refused(file, UsageError)
    assert "sd.ckpt), which can run any program" in refused(tmp_path)


def test_names_that_are_nowhere(tmp_path: Path) -> None:
    assert "--method diffusion" in refused(tmp_path / "nowhere", UsageError)
    assert "OWNER/NAME" in refused("stable-diffusion", UsageError)


def test_a_pickle_is_refused_and_how_to_convert_it_said(tmp_path: Path) -> None:
    folder = alone(tmp_path / "prior")
    torch.save({}, folder / "diffusion_pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    said = refused(folder)
    assert "can run any program" in said and "save_pretrained(FOLDER, safe_serialization=True)" in said
    (folder / "diffusion_pytorch_model.bin").unlink()
    assert "there are no weights" in refused(folder)


def test_weights_that_are_damaged_missing_or_of_another_network(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = alone(tmp_path / "prior") / WEIGHTS
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    assert "cannot be read as a model" in refused(tmp_path / "prior")
    file.write_bytes(whole)
    tensors = load_file(file)
    save_file({k: t for k, t in tensors.items() if not k.startswith("conv_in")}, file)
    assert "lacks 2 of the weights" in refused(tmp_path / "prior")
    save_file(tensors | {"conv_in.weight": torch.zeros(8, 5, 3, 3)}, file)
    assert "cannot be read as a model" in refused(tmp_path / "prior")
    save_file(tensors | {"conv_in.bias": torch.full_like(tensors["conv_in.bias"], torch.nan)}, file)
    assert "weights that are no numbers (conv_in.bias)" in refused(tmp_path / "prior")


def test_a_scheduler_that_is_missing_or_damaged(tmp_path: Path) -> None:
    file = alone(tmp_path / "prior") / "scheduler_config.json"
    file.write_text("[]")
    assert "cannot be read as a scheduler's settings" in refused(tmp_path / "prior")
    file.unlink()
    said = refused(tmp_path / "prior")
    assert "does not say how noise was added" in said and "DDPMScheduler(...).save_pretrained" in said


def test_networks_that_take_more_than_a_noisy_picture(tmp_path: Path) -> None:
    filling = net("UNet2DConditionModel", 9, 8, out_channels=4)
    folder = pipeline(tmp_path / "inpaint", unet=filling, scheduler=scheduler(), vae=vae(4))
    assert "takes 9 channels and makes 4: it is for filling in" in refused(folder)
    folder = pipeline(tmp_path / "other", unet=net(channels=3), scheduler=scheduler(), vae=vae(4))
    assert "takes 3 channels, and the latent" in refused(folder)
    (folder / "vqvae").mkdir()
    assert "latent space of a vqvae" in refused(folder)
