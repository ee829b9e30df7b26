"""Categories by name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from redraft.core.errors import unknown


@dataclass(frozen=True, kw_only=True)
class Category:
    names: tuple[str, ...]

    def encode(self, raw: Tensor) -> Tensor:
        """Indices [N] of any integer kind -> int64 [N]."""
        return raw.long()

    def read(self, word: str) -> Tensor:
        """A name (letter case and -_ ignored) or an index -> int64 [1]."""
        names = [_plain(name) for name in self.names]
        if _plain(word) in names:
            return torch.tensor([names.index(_plain(word))])
        if word.isdigit() and int(word) < len(names):
            return torch.tensor([int(word)])
        raise unknown("category", word, self.names)

    def show(self, c: Tensor, size: int) -> Tensor:
        """The name written on a plain square, RGB [N, 3, size, size] in [-1, 1]."""
        return torch.stack([_written(self.names[i], size) for i in c.tolist()])


def _plain(word: str) -> str:
    return word.strip().lower().replace("-", " ").replace("_", " ")


def _written(text: str, size: int) -> Tensor:
    import numpy as np
    from PIL import Image, ImageDraw

    sheet = Image.new("RGB", (4 * size, 4 * size), (246, 244, 239))
    words = text.replace("/", " / ").split()
    points = min(4 * size / (0.62 * max(map(len, words))), 4 * size / (1.3 * len(words)), size)
    lines = "\n".join(words)
    draw = ImageDraw.Draw(sheet)
    from PIL import ImageFont

    font = ImageFont.load_default(points)
    middle = (2 * size, 2 * size)
    draw.multiline_text(middle, lines, fill=(40, 40, 40), font=font, anchor="mm", align="center")
    small = np.asarray(sheet.resize((size, size), Image.Resampling.LANCZOS))
    return torch.from_numpy(small.copy()).movedim(-1, 0).float() / 127.5 - 1
