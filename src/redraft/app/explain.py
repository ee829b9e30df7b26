"""Tell how a picture was made, make it again and compare."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from redraft.app.generate import same_pixels
from redraft.app.model import Model
from redraft.app.show import say
from redraft.core import images
from redraft.core.errors import DataError, UsageError
from redraft.core.rng import PictureNoise


def explain(
    picture: str, *, model: str | None = None, condition: str | None = None, out: str | None = None
) -> bool:
    """Print the story in a PNG and replay it; True when the pixels are the same."""
    info = read_story(picture)
    for key, value in info.items():
        say(f"{key:>18}  {value}")
    seed, steps, together, at = _numbers(picture, info)
    place = model or info["model"]
    if not Path(place).exists():
        raise UsageError(f"The model {place} is not there any more; say where it is with --model.")
    maker = Model.from_pretrained(place, "cpu")
    if maker.hash != info["model_hash"]:
        raise UsageError(f"{place} holds another model than the one that made {picture}; use --model.")
    c = maker.read(_condition(info, condition), seed)
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


def _condition(info: dict[str, str], given: str | None) -> str | None:
    word = given or info.get("condition")
    if word is None or "condition_sha256" not in info:
        return word
    if not Path(word).is_file():
        raise UsageError(f"The condition {word} is not there any more; say where it is with --condition.")
    wanted = info["condition_sha256"]  # empty where the condition was in memory
    if wanted and hashlib.sha256(Path(word).read_bytes()).hexdigest() != wanted:
        raise UsageError(f"{word} has changed since the picture was made; give the old one with --condition.")
    return word
