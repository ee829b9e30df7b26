"""Models of redraft as experts, and the list that a person sees."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from painting import Cli
from torch import Tensor

from redraft import Model
from redraft.app.experts import load
from redraft.app.train import train
from redraft.core.errors import BundleError, RedraftError, UsageError
from redraft.core.rng import PictureNoise

SIZE = 16
TINY = ["networks.solver_width=8", "networks.initializer_width=8", "train.batch=4"]


def trained(discs: Path, out: Path, **how: object) -> Path:
    """A run of two steps."""
    settings = [*TINY, *how.pop("settings", [])]  # type: ignore[misc]
    return train(str(discs), size=SIZE, steps=2, out=str(out), device="cpu", settings=settings, **how)


@pytest.fixture(scope="module")
def autoencoder(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = ["networks.autoencoder.numbers=6", "networks.autoencoder.width=4"]
    out = tmp_path_factory.mktemp("experts") / "autoencoder"
    return trained(discs, out, task="none", method="autoencoder", settings=small)


@pytest.fixture(scope="module")
def of_categories(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(discs, tmp_path_factory.mktemp("experts") / "category", task="category", method="gan")


def pictures(n: int = 3) -> Tensor:
    return torch.rand(n, 3, SIZE, SIZE) * 2 - 1


def said(name: str, error: type[RedraftError]) -> str:
    with pytest.raises(error) as refused:
        load(name)
    text = str(refused.value)
    assert text.endswith(".") and "\n" not in text
    return text


def test_an_autoencoder_trained_here_is_an_expert(autoencoder: Path) -> None:
    expert, model, x = (
        load(f"image:{autoencoder}"),
        Model.from_pretrained(autoencoder, device="cpu"),
        pictures(),
    )
    net = model.method.initializer
    assert expert.kind == "autoencoder" and expert.shape(SIZE) == tuple(net.latent_shape(SIZE))
    with torch.no_grad():
        torch.testing.assert_close(expert(x), net.encode(x))
        torch.testing.assert_close(expert.decode(expert(x)), net.decode(net.encode(x)))
    assert expert.folder == Path(model.place)
    assert not any(p.requires_grad for p in expert.train().parameters()) and not expert.net.training


def test_a_copied_model_is_the_same_expert(autoencoder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(autoencoder / "model", tmp_path / "copy")
    assert load(f"image:{copy}").fingerprint == load(f"image:{autoencoder}").fingerprint


def test_a_generator_drafts_as_its_model_does(of_categories: Path) -> None:
    expert, model = load(f"generator:{of_categories}"), Model.from_pretrained(of_categories, device="cpu")
    z = expert.draw(40, torch.Generator().manual_seed(0))
    assert expert.kind == "generator" and z.shape == (40, *expert.shape(SIZE))
    drawn = z[:, expert.noise :, 0, 0].argmax(1)
    assert set(drawn.tolist()) == {0, 1}

    categories = torch.tensor([0, 1, 1])
    made = model.make(categories, [0, 1, 2], refine=0, seed=5)
    noise = PictureNoise(5, [0, 1, 2]).normal(3, *expert.z_shape).flatten(1)
    exact = torch.cat([noise, torch.eye(2)[categories]], 1)[..., None, None]
    torch.testing.assert_close(expert.decode(exact), made.drafts)


def test_sizes_and_kinds_that_do_not_fit(autoencoder: Path, of_categories: Path, recover_run: Path) -> None:
    assert f"name it image:{autoencoder}" in said(f"generator:{autoencoder}", UsageError)
    assert f"name it image:{autoencoder}" in said(f"text:{autoencoder}", UsageError)
    assert f"name it generator:{of_categories}" in said(f"image:{of_categories}", UsageError)
    assert "makes pictures of a picture" in said(f"generator:{recover_run}", UsageError)
    for name in (f"generator:{of_categories}", f"image:{autoencoder}"):
        with pytest.raises(UsageError, match=f"{SIZE} px, not 24.*--size {SIZE}"):
            load(name).shape(24)


def test_models_that_are_broken(autoencoder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(autoencoder / "model", tmp_path / "copy")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[:-8] + bytes(8))
    assert "damaged" in said(f"image:{copy}", BundleError)
    (copy / "model.safetensors").unlink()
    assert "incomplete" in said(f"image:{copy}", BundleError)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert "no config.json" in said(f"image:{tmp_path / 'run'}", BundleError)


def test_other_names_go_to_the_other_experts() -> None:
    assert load("image:taef2").name == "image:taef2"
    assert "nearest at hand" in said("image:nowhere", UsageError)


def test_the_list_on_the_screen(cli: Cli) -> None:
    status, out, err = cli("experts")
    assert status == 0 and not err
    head, *rows = out.split("\n\n")[0].splitlines()
    assert head.split() == ["name", "kind", "at", "64", "px", "licence", "here"]
    taef2 = next(row for row in rows if row.startswith("image:taef2"))
    assert taef2.split() == ["image:taef2", "autoencoder", "32", "x", "8", "x", "8", "MIT", "yes"]
    missing = [row.split("  ")[0] for row in rows if row.endswith(" no")]
    assert all(f"\n{name}: " in out for name in missing)
