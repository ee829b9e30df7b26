"""Make pictures from a trained model and write them, each with the story of how it was made."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from redraft import __version__
from redraft.app.model import Made, Model
from redraft.app.show import say, write_trace
from redraft.core import images
from redraft.core.errors import DataError, UsageError

PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"}


def generate(
    model: str,
    conditions: Sequence[str],
    *,
    out: str,
    variants: int = 1,
    refine: int | None = None,
    best_of: int | None = None,
    seed: int = 0,
    trace: bool = False,
    bits: int = 8,
    device: str = "auto",
) -> list[Path]:
    """Write one PNG for each condition and variant into the new folder ``out``; the paths, in order."""
    from redraft.training.processes import rank, world

    if bits not in (8, 16):
        raise UsageError(f"--bits is 8 or 16, not {bits}.")
    maker = Model.from_pretrained(model, device)
    words = expand(conditions)
    folder = new_folder(out)
    asked: list[str | None] = [*words] or [None]
    mine = asked[rank() :: world()]
    written: list[Path] = []
    for word in mine:
        made = maker(word, variants=variants, refine=refine, best_of=best_of, seed=seed, trace=trace)
        stem = _stem(word)
        for i in range(len(made.images)):
            path = (
                folder / f"{stem}{made.variants[i]}.png"
                if len(made.images) > 1
                else folder / f"{stem.rstrip('-')}.png"
            )
            info = story(maker, made, i, model, word, seed, refine)
            images.write(made.images[i], path, info, bits=bits)
            written.append(path)
            if trace:
                write_trace(made, i, path.with_suffix(""))
        _tell(made, word, written[-len(made.images) :])
    return written


def expand(conditions: Sequence[str]) -> list[str]:
    """Folders become the pictures in them, sorted; words and files stay."""
    words: list[str] = []
    for given in conditions:
        if Path(given).is_dir():
            inside = sorted(p for p in Path(given).iterdir() if p.suffix.lower() in PICTURES)
            if not inside:
                raise DataError(f"The folder {given} holds no pictures to start from.")
            words += map(str, inside)
        else:
            words.append(given)
    return words


def new_folder(out: str) -> Path:
    """An empty folder to write into; one with something in it is never written over."""
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{out} exists already and is not empty; give another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def story(
    model: Model, made: Made, i: int, place: str, word: str | None, seed: int, refine: int | None
) -> dict[str, str]:
    """What the PNG says of itself: enough for ``explain`` to make it again."""
    steps = model.run.method.langevin.steps if refine is None else refine
    info = {
        "software": f"redraft {__version__}",
        "model": str(Path(place).resolve()),
        "model_hash": model.hash,
        "method": model.run.method_name,
        "task": model.run.task_name,
        "seed": str(seed),
        "variant": str(made.variants[i]),
        "batch": str(made.batch[i]),
        "steps": str(steps),
        "energy": f"{made.energies[i]:.6g}",
        "draft_energy": f"{made.draft_energies[i]:.6g}",
        "percentile": f"{made.percentiles[i]:.1f}",
        "torch": torch.__version__,
    }
    if word is not None:
        info["condition"] = str(Path(word).resolve()) if Path(word).is_file() else word
        if Path(word).is_file():
            info["condition_sha256"] = hashlib.sha256(Path(word).read_bytes()).hexdigest()
    if made.novelty is not None:
        info["novelty"] = f"{made.novelty[i]:.1f}"
    return {f"redraft:{k}": v for k, v in info.items()}


def _stem(word: str | None) -> str:
    if word is None:
        return "picture-"
    plain = Path(word).stem if Path(word).is_file() else word
    return "".join(ch if ch.isalnum() or ch in "-_" else "-" for ch in plain) + "-"


def _tell(made: Made, word: str | None, paths: list[Path]) -> None:
    for i, path in enumerate(paths):
        line = f"{path}  better than {made.percentiles[i]:.0f} % of real held-out pictures, says the solver"
        say(line)
    if made.novelty is not None and float(made.novelty.max()) > 99:
        say(f"  caution: {word} is unlike anything that the model was trained on; do not trust its score.")


def same_pixels(a: Tensor, b: Tensor) -> tuple[int, int]:
    """How many pixels differ between two uint8 or uint16 pictures, and by how much at most."""
    gap = (a.int() - b.int()).abs()
    return int((gap.amax(-1) > 0).sum()), int(gap.max())
