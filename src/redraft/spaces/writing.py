"""Words written on a plain square, so that a condition of words can stand among pictures."""

from __future__ import annotations

import contextlib
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MOST = 90  # characters of a sentence that are written: more would be too small to read


def written(lines: Sequence[str], size: int) -> Tensor:
    """Lines of text in the middle of a square, as large as fits: RGB [3, size, size] in [-1, 1]."""
    import numpy as np
    from PIL import Image, ImageDraw

    sheet = Image.new("RGB", (4 * size, 4 * size), (246, 244, 239))
    if any(lines):
        text, font = _set("\n".join(lines), _points(lines, size))
        draw = ImageDraw.Draw(sheet)
        middle = (2 * size, 2 * size)
        draw.multiline_text(middle, text, fill=(40, 40, 40), font=font, anchor="mm", align="center")
    small = np.asarray(sheet.resize((size, size), Image.Resampling.LANCZOS))
    return torch.from_numpy(small.copy()).movedim(-1, 0).float() / 127.5 - 1


def wrapped(text: str, size: int) -> list[str]:
    """A sentence broken into the lines that can be written largest; what is too long ends in dots."""
    text = textwrap.shorten(text, MOST, placeholder=" ...") if " " in text else text[:MOST]
    least = min(14, max(map(len, text.split()), default=1))  # longer words are broken
    ways = [textwrap.wrap(text, width) for width in range(least, max(least, len(text)) + 1)]
    return max(ways, key=lambda lines: _points(lines, size) if lines else 0.0)


def _points(lines: Sequence[str], size: int) -> float:
    """The font's size for a sheet of 4 ``size`` px: no line too wide, all lines on it."""
    return min(4 * size / (0.62 * max(map(len, lines))), 4 * size / (1.3 * len(lines)), size)


def _set(text: str, points: float) -> tuple[str, Any]:
    """The text and a font that has its letters: Pillow's own has ASCII alone."""
    from PIL import ImageFont

    if not text.isascii():
        for name in ("DejaVuSans.ttf", "Arial.ttf"):
            with contextlib.suppress(OSError):
                return text, ImageFont.truetype(name, 0.9 * points)
        bare = unicodedata.normalize("NFKD", text)  # letters without their accents
        text = "".join(c for c in bare if not unicodedata.combining(c))
    return text, ImageFont.load_default(points)
