"""Small pictures, and what a command line said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from redraft.core.rng import stream


class Said(NamedTuple):
    status: int
    out: str
    err: str


Cli = Callable[..., Said]


def paint(path: Path, seed: int, size: int = 32) -> None:
    """A small picture: a coloured disc whose place and colour follow the seed."""
    g = stream(seed, "paint")
    cx, cy, r, *rgb = torch.rand(6, generator=g).tolist()
    y, x = np.mgrid[:size, :size] / size
    inside = (x - 0.3 - 0.4 * cx) ** 2 + (y - 0.3 - 0.4 * cy) ** 2 < (0.12 + 0.2 * r) ** 2
    colour = np.array(rgb) * 200 + 30
    picture = np.where(inside[..., None], colour, 245.0).astype("uint8")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
