"""Tell how a picture was made, make it again and compare."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from redraft.app.generate import same_pixels
from redraft.app.model import Model
from redraft.app.show import say
from redraft.core import images
from redraft.core.errors import DataError, UsageError
from redraft.core.rng import PictureNoise


def explain(
    picture: str,
    *,
    model: str | None = None,
    condition: str | None = None,
    drafts: str | None = None,
    out: str | None = None,
) -> bool:
    """Print the story in a PNG and replay it; True when the pixels are the same."""
    info = read_story(picture)
    for key, value in info.items():
        say(f"{key:>18}  {value}")
    seed, steps, together, at = _numbers(picture, info)
    maker = _model(picture, info, "model", model)
    if "temperature" in info:
        maker.temper(_decimal(picture, info, "temperature"))
    if "drafts" in info:
        maker.draft_by(_model(picture, info, "drafts", drafts), _decimal(picture, info, "level"))
    word = _given(info, "condition", condition)
    if "like" in info:
        made = maker.like(word, **_exemplar(picture, info), seed=seed).images[0]
    else:
        c = maker.read(word, seed)
        noise = PictureNoise(seed, together)
        rows = None if c is None else c.expand(len(together), *c.shape[1:])
        made = maker.viewed.generate(rows, len(together), noise, refine=steps).images[at].clamp(-1, 1)
    there = images.read(picture)
    again = images.to_array(made, bits=16 if there.dtype.itemsize == 2 else 8)
    if out is not None:
        if Path(out).exists():
            raise UsageError(f"{out} exists already; give another --out.")
        images.write(made, Path(out), {f"redraft:{k}": v for k, v in info.items()})
    if there.shape != again.shape:
        say(f"The replay has another shape, {again.shape} instead of {there.shape}: the file was edited.")
        return False
    count, most = same_pixels(
        torch.from_numpy(there.astype("int32")), torch.from_numpy(again.astype("int32"))
    )
    if count:
        say(f"The replay differs in {count} pixels, by at most {most} levels: edited, or another machine.")
        return False
    say("The replay has the same pixels.")
    return True


def _model(picture: str, info: dict[str, str], key: str, place: str | None) -> Model:
    """The model under ``key`` of a story, or at ``place``; UsageError where it is not the one of then."""
    place = place or info[key]
    if not Path(place).exists():
        raise UsageError(f"The model {place} is not there any more; say where it is with --{key}.")
    found = Model.from_pretrained(place, "cpu")
    if found.hash != info.get(f"{key}_hash"):
        raise UsageError(f"{place} holds another model than the one that made {picture}; use --{key}.")
    return found


def read_story(picture: str) -> dict[str, str]:
    """The metadata that ``generate`` wrote; DataError where there are none."""
    if not Path(picture).is_file():
        raise UsageError(f"There is no file {picture}.")
    told = images.read_info(Path(picture))
    info = {k.removeprefix("redraft:"): v for k, v in told.items() if k.startswith("redraft:")}
    needed = {"model", "model_hash", "seed", "together", "place", "steps"}
    if not needed <= set(info):
        raise DataError(f"{picture} does not say how it was made: it is not a PNG as Redraft writes it.")
    return info


def _numbers(picture: str, info: dict[str, str]) -> tuple[int, int, list[int], int]:
    """Seed, solver steps, the variants that were made together, and the picture's place among them."""

    def number(key: str, text: str, low: int, high: int) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise DataError(f"{picture} was edited: its {key}, {info[key]!r}, is none that Redraft writes.")
        return value

    together = [number("together", text, 0, 2**62) for text in info["together"].split()[:1024]]
    if not together:
        raise DataError(f"{picture} was edited: its together is empty.")
    return (
        number("seed", info["seed"], -(2**63), 2**64),
        number("steps", info["steps"], 0, 10**6),
        together,
        number("place", info["place"], 0, len(together) - 1),
    )


def _exemplar(picture: str, info: dict[str, str]) -> dict[str, Any]:
    """The picture in whose manner it was made, under which condition, and how much of the way."""
    strength = _decimal(picture, info, "strength")
    return {"exemplar": _given(info, "like"), "of": _given(info, "like_is"), "strength": strength}


def _decimal(picture: str, info: dict[str, str], key: str) -> float:
    try:
        return float(info[key])
    except (KeyError, ValueError):
        raise DataError(f"{picture} was edited: its {key} is none that Redraft writes.") from None


def _given(info: dict[str, str], key: str, given: str | None = None) -> str | None:
    """The word or file of this key; UsageError where a file is not what it was."""
    word = given or info.get(key)
    if word is None or f"{key}_sha256" not in info:
        return word
    where = "; say where it is with --condition" if key == "condition" else "; put it back"
    if not Path(word).is_file():
        raise UsageError(f"The picture {word} is not there any more{where}.")
    wanted = info[f"{key}_sha256"]  # empty where the condition was in memory
    if wanted and hashlib.sha256(Path(word).read_bytes()).hexdigest() != wanted:
        raise UsageError(f"{word} has changed since the picture was made{where}.")
    return word
