"""Models in the folders of Hugging Face's libraries: found, told apart, read without a pickle, quietly."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from redraft.core.errors import BundleError, UsageError

CONFIG = "config.json"
WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")  # no pickles, no other frameworks' weights
UNWANTED = ["onnx/*", "openvino/*", "*.fp16.*", "*non_ema*"]


def folder_of(name: str, nearest: str, wanted: Sequence[str] = WANTED) -> Path:
    """The folder of a model: ``name`` itself where that is one, else what the hub calls so, fetched once.

    "OWNER/NAME", or "OWNER/NAME/FOLDER" for a part of it; ``wanted`` says which files. UsageError where it
    cannot be had: how to get it, and ``nearest``, what needs no network.
    """
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") not in (1, 2):
        raise UsageError(
            f"There is no folder {name}, and a model of the hub is named OWNER/NAME; "
            f"nearest at hand: {nearest}."
        )
    owner, model, *part = name.split("/")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UsageError(
            f"There is no folder {name}; if the hub is meant: pip install huggingface_hub, or use {nearest}."
        ) from None
    files = [f"{part[0]}/{pattern}" for pattern in wanted] if part else list(wanted)
    fetch: dict[str, Any] = {"allow_patterns": files, "ignore_patterns": UNWANTED}
    try:
        with quiet():
            place = Path(snapshot_download(f"{owner}/{model}", **fetch))
    except (OSError, ValueError):  # not there, no network, no permission, no such name
        raise UsageError(
            f"{name} is no folder here, and the hub cannot be reached or has no such model: fetch it where "
            f"there is a network (hf download {owner}/{model} --local-dir FOLDER) and name the folder, "
            f"or use {nearest}, which needs no network."
        ) from None
    return place.joinpath(*part)


def config_of(folder: Path) -> dict[str, Any]:
    """The folder's config.json; BundleError where there is none, or none that can be read."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{folder} is no model: there is no {CONFIG} in it.") from None
    except (OSError, ValueError):
        raise BundleError(f"{folder / CONFIG} cannot be read as JSON: fetch the model again.") from None
    if not isinstance(config, dict):
        raise BundleError(f"{folder / CONFIG} describes no model.")
    return config


def refuse_pickles(folder: Path) -> None:
    """BundleError where the weights are not in safetensors: a pickle may run whatever it likes when read."""
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(
        p.name for end in ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl") for p in folder.glob(end)
    )
    if pickled:
        raise BundleError(
            f"{folder} has its weights as a pickle alone ({pickled[0]}), which can run any program when "
            "read: get it as safetensors, or convert it with the library that made it: "
            "model.save_pretrained(FOLDER, safe_serialization=True)."
        )
    raise BundleError(f"{folder} is incomplete: there are no weights (*.safetensors) in it.")


def refuse_gaps(folder: Path, found: Mapping[str, Any], spare: str = "") -> None:
    """BundleError where weights were missing, which the libraries draw by chance; ``spare`` ones may be."""
    missing = sorted(name for name in found["missing_keys"] if not (spare and name.startswith(spare)))
    if missing:
        raise BundleError(
            f"{folder} lacks {len(missing)} of the weights that its config.json tells of, the first "
            f"{missing[0]}: fetch the model again."
        )


@contextmanager
def drawn_alike() -> Iterator[None]:
    """Weights that a file lacks are the same every time, and nobody else's dice are touched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def of_diffusers(folder: Path, kind: str, **how: Any) -> Any:
    """The network of diffusers' class ``kind`` in a folder, whole, in single precision."""
    with reading(folder, "diffusers"), drawn_alike():
        import diffusers

        net, found = getattr(diffusers, kind).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **how
        )
    refuse_gaps(folder, found)
    return net.float()


@contextmanager
def reading(folder: Path, library: str) -> Iterator[None]:
    """Quiet; whatever the library raises about a model becomes one sentence."""
    try:
        with quiet(library):
            yield
    except ImportError as problem:
        raise UsageError(f"{folder} needs a package that is missing here ({_first(problem)}).") from None
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as problem:
        raise BundleError(f"{folder} cannot be read as a model: {_first(problem)}.") from None
    except Exception as problem:
        if type(problem).__module__.partition(".")[0] not in ("safetensors_rust", "safetensors"):
            raise
        raise BundleError(f"{folder} holds damaged weights: {_first(problem)}. Fetch it again.") from None


@contextmanager
def quiet(library: str = "") -> Iterator[None]:
    """Without warnings, nor transformers' or diffusers' logs and progress bars; put back afterwards."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else it warns after every fork
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        undo = _hush(library) if library else None
        hub_bars = _hush_hub() if importlib.util.find_spec("huggingface_hub") else None
        try:
            yield
        finally:
            for put_back in (undo, hub_bars):
                if put_back:
                    put_back()


def _hush(library: str) -> Any:
    logging = importlib.import_module(f"{library}.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()

    def undo() -> None:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()

    return undo


def _hush_hub() -> Any:
    from huggingface_hub import utils

    if utils.are_progress_bars_disabled():
        return None
    utils.disable_progress_bars()
    return utils.enable_progress_bars


def _first(problem: Exception) -> str:
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    return lines[0].rstrip(".:")
