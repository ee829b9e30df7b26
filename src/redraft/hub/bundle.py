"""The bundle: a folder with config.json, model.safetensors, a card and previews. Never a pickle.

config.json          format, package version, SHA-256 of the weights, and the resolved config
model.safetensors    networks and calibration, told apart by the first part of a tensor's name
README.md            the card
previews/*.png       pictures to look at
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redraft.core.errors import BundleError, OutOfSpace

FORMAT = 1
CONFIG, WEIGHTS, CARD, PREVIEWS = "config.json", "model.safetensors", "README.md", "previews"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What a folder held. ``hash`` is the SHA-256 of its weights: the model's name in every picture."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    hash: str
    folder: Path


def save(
    folder: Path | str,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    card: str,
    *,
    previews: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> str:
    """Write a bundle and return its hash.

    The folder appears whole or not at all; one that is there already is kept unless ``replace``.
    ``previews`` are PNG files by name. Raises BundleError, or OutOfSpace before anything is lost.
    """
    folder = Path(folder)
    if folder.exists() and not replace:
        raise BundleError(f"{folder} is there already; name another folder or remove it first.")
    if folder.exists() and any(folder.iterdir()) and not (folder / CONFIG).exists():
        raise BundleError(f"{folder} holds something other than a model, so it is not replaced.")
    match(tensors, {name: tensor.shape for name, tensor in tensors.items()})
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            made.chmod(0o755)
            digest = _write(made, config, tensors, card, previews or {})
            _put(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(f"The disk is full: no model could be written to {folder}.") from None
        raise BundleError(f"{folder} cannot be written: {problem.strerror or problem}.") from None
    return digest


def load(folder: Path | str) -> Bundle:
    """Open a bundle, checking its format, its files and the hash of its weights."""
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise BundleError(f"{folder} is not a model: there is no {CONFIG} in it.")
    about = _read_config(folder / CONFIG)
    if about["format"] != FORMAT:
        raise BundleError(
            f"{folder} has format {about['format']} (written by redraft {about.get('redraft', '?')}), "
            f"and this version reads format {FORMAT}: use the version that wrote it, or train again."
        )
    try:
        weights = (folder / WEIGHTS).read_bytes()
    except OSError:
        raise BundleError(f"{folder} is incomplete: {WEIGHTS} cannot be read.") from None
    digest = hashlib.sha256(weights).hexdigest()
    if digest != about["sha256"]:
        raise BundleError(f"{folder / WEIGHTS} is damaged or not this model's: copy the folder again.")
    return Bundle(config=about["config"], tensors=_parse(weights, folder), hash=digest, folder=folder)


def match(tensors: Mapping[str, Tensor], expected: Mapping[str, Sequence[int]]) -> None:
    """Raise a BundleError naming every tensor that is missing, extra, of another shape or not finite."""
    faults = [f"{name} is missing" for name in sorted(expected.keys() - tensors.keys())]
    faults += [f"{name} is not of this model" for name in sorted(tensors.keys() - expected.keys())]
    for name in sorted(expected.keys() & tensors.keys()):
        tensor, shape = tensors[name], tuple(expected[name])
        if tuple(tensor.shape) != shape:
            faults.append(f"{name} has shape {list(tensor.shape)}, not {list(shape)}")
        elif tensor.is_floating_point() and not torch.isfinite(tensor).all():
            faults.append(f"{name} holds values that are not finite numbers")
    if faults:
        more = f", and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise BundleError(f"The tensors do not fit the model: {'; '.join(faults[:5])}{more}.")


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors named ``name.…``, without that beginning."""
    start = name + "."
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}


def _write(
    made: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    card: str,
    previews: Mapping[str, bytes],
) -> str:
    from safetensors.torch import save as serialise

    whole = {name: t.detach().cpu().contiguous().clone() for name, t in sorted(tensors.items())}
    weights = serialise(whole)
    digest = hashlib.sha256(weights).hexdigest()
    about = {
        "format": FORMAT,
        "redraft": _version(),
        "sha256": digest,
        "config": dict(config),
    }
    (made / WEIGHTS).write_bytes(weights)
    (made / CONFIG).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (made / CARD).write_text(card, encoding="utf-8")
    for name, picture in previews.items():
        (made / PREVIEWS).mkdir(exist_ok=True)
        (made / PREVIEWS / Path(name).name).write_bytes(picture)
    return digest


def _version() -> str:
    try:
        return version("redraft")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"


def _put(made: Path, folder: Path) -> None:
    if not folder.exists():
        made.rename(folder)
        return
    old = made.with_name(made.name + ".old")
    folder.rename(old)
    try:
        made.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _read_config(file: Path) -> dict[str, Any]:
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BundleError(f"{file} is damaged: it cannot be read as JSON.") from None
    if not isinstance(about, dict) or not isinstance(about.get("format"), int):
        raise BundleError(f"{file.parent} is not a model of redraft: its {CONFIG} states no format.")
    if about["format"] == FORMAT and not (
        isinstance(about.get("config"), dict) and isinstance(about.get("sha256"), str)
    ):
        raise BundleError(f"{file} is damaged: its config or the hash of the weights is missing.")
    return about


def _parse(weights: bytes, folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    try:
        return parse(weights)
    except (SafetensorError, ValueError, KeyError) as problem:
        raise BundleError(f"{folder / WEIGHTS} cannot be read as safetensors: {problem}.") from None
