"""Words written on a plain square, so that a condition of words can stand among pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import torch
from torch import Tensor

MOST = 90  # characters of a sentence that are written: more would be too small to read


def written(lines: Sequence[str], size: int) -> Tensor:
    """Lines of text in the middle of a square, as large as fits: RGB [3, size, size] in [-1, 1]."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (4 * size, 4 * size), (246, 244, 239))
    if any(lines):
        middle, font = (2 * size, 2 * size), ImageFont.load_default(_points(lines, size))
        draw = ImageDraw.Draw(sheet)
        text = "\n".join(lines)
        draw.multiline_text(middle, text, fill=(40, 40, 40), font=font, anchor="mm", align="center")
    small = np.asarray(sheet.resize((size, size), Image.Resampling.LANCZOS))
    return torch.from_numpy(small.copy()).movedim(-1, 0).float() / 127.5 - 1


def wrapped(text: str, size: int) -> list[str]:
    """A sentence broken into the lines that can be written largest; what is too long ends in dots."""
    text = textwrap.shorten(text, MOST, placeholder=" …") if " " in text else text[:MOST]
    ways = [textwrap.wrap(text, width) for width in range(4, max(5, len(text) + 1))]
    return max(ways, key=lambda lines: _points(lines, size) if lines else 0.0, default=[])


def _points(lines: Sequence[str], size: int) -> float:
    """The font's size for a sheet of 4 ``size`` px: no line too wide, all lines on it."""
    return min(4 * size / (0.62 * max(map(len, lines))), 4 * size / (1.3 * len(lines)), size)
