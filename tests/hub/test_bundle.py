from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch

from redraft.core.errors import BundleError, OutOfSpace
from redraft.hub import bundle, load, match, part, save

TENSORS = {
    "initializer.weight": torch.arange(6.0).view(2, 3),
    "solver.bias": torch.randn(4, generator=torch.Generator().manual_seed(0)),
    "calibration.energies": torch.zeros(3, dtype=torch.float64),
}
CONFIG = {"method": "ccoopnets", "note": "größer <b>", "size": 28, "betas": [0.5, 0.9], "none": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "model", CONFIG, TENSORS, "# card", previews={"grid.png": b"\x89PNG"})
    return tmp_path / "model"


def test_what_goes_in_comes_out_bit_for_bit(folder: Path) -> None:
    b = load(folder)
    assert b.config == CONFIG
    assert b.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert b.tensors[name].dtype == tensor.dtype and torch.equal(b.tensors[name], tensor)
    assert b.hash == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert (folder / "README.md").read_text() == "# card"
    assert (folder / "previews/grid.png").read_bytes() == b"\x89PNG"


def test_the_hash_names_the_weights_and_nothing_else(tmp_path: Path) -> None:
    turned = dict(reversed(TENSORS.items()))  # another order, another config, memory not contiguous
    turned["initializer.weight"] = TENSORS["initializer.weight"].T.contiguous().T
    a, b = save(tmp_path / "a", CONFIG, TENSORS, "x"), save(tmp_path / "b", {}, turned, "y")
    other = {**TENSORS, "solver.bias": TENSORS["solver.bias"] + 1e-6}
    assert a == b != save(tmp_path / "c", CONFIG, other, "x")


def test_tied_tensors_are_written_each_by_itself(tmp_path: Path) -> None:
    whole = torch.ones(8)
    save(tmp_path / "m", {}, {"a": whole, "b": whole[:4]}, "")
    assert load(tmp_path / "m").tensors["b"].shape == (4,)


def test_part_takes_one_owner() -> None:
    assert part(TENSORS, "solver").keys() == {"bias"}
    assert part(TENSORS, "sol") == {}


def test_no_pickle_is_ever_opened(folder: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pytest.fail, ("a pickle was opened",)

    weights = pickle.dumps(Bomb())
    (folder / "model.safetensors").write_bytes(weights)
    about = json.loads((folder / "config.json").read_text())
    about["sha256"] = hashlib.sha256(weights).hexdigest()  # even where the hash agrees
    (folder / "config.json").write_text(json.dumps(about))
    with pytest.raises(BundleError, match="safetensors"):
        load(folder)


def test_a_flipped_bit_is_found(folder: Path) -> None:
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(BundleError, match="damaged"):
        load(folder)


def _config(folder: Path, **changes: object) -> None:
    about = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(about))


def test_another_version_is_named(folder: Path) -> None:
    _config(folder, format=99, redraft="7.1")
    with pytest.raises(BundleError, match=r"format 99 .*redraft 7\.1"):
        load(folder)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"format": 1}', '{"format": "1"}', "\udcff"])
def test_a_damaged_config_is_a_sentence(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BundleError):
        load(folder)


def test_what_is_no_bundle_is_said(tmp_path: Path, folder: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(BundleError, match="not a model"):
            load(path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(BundleError, match="incomplete"):
        load(folder)


def test_match_names_every_fault() -> None:
    shapes = {name: tuple(t.shape) for name, t in TENSORS.items()}
    match(TENSORS, shapes)
    faulty = dict(TENSORS)
    del faulty["initializer.weight"]
    faulty["extra"] = torch.zeros(1)
    faulty["solver.bias"] = torch.full((4,), float("nan"))
    faulty["calibration.energies"] = torch.zeros(5)
    with pytest.raises(BundleError) as told:
        match(faulty, shapes)
    for words in (
        "initializer.weight is missing",
        "extra is not of this model",
        "solver.bias holds values that are not finite",
        "calibration.energies has shape [5], not [3]",
    ):
        assert words in str(told.value)


def test_no_model_with_nan_is_saved(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="finite"):
        save(tmp_path / "m", {}, {"w": torch.tensor([float("inf")])}, "")
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_kept_unless_told(folder: Path) -> None:
    with pytest.raises(BundleError, match="already"):
        save(folder, {}, {}, "")
    assert load(folder).config == CONFIG
    save(folder, {"new": 1}, TENSORS, "", replace=True)
    assert load(folder).config == {"new": 1}
    assert not (folder / "previews").exists()  # nothing of the old one is left
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.png").write_bytes(b"cat")
    with pytest.raises(BundleError, match="other than a model"):
        save(tmp_path / "photos", {}, TENSORS, "", replace=True)
    assert (tmp_path / "photos/cat.png").read_bytes() == b"cat"


@pytest.mark.parametrize("step", ["_write", "_put"])
def test_a_full_disk_leaves_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, step, full)
    with pytest.raises(OutOfSpace, match="full"):
        save(folder, {"new": 1}, TENSORS, "", replace=True)
    assert load(folder).config == CONFIG
    assert [p.name for p in folder.parent.iterdir()] == ["model"]
