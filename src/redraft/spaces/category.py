"""Categories by name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from redraft.core.errors import unknown
from redraft.spaces.writing import written


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
        return torch.stack([written(self.names[i].replace("/", " / ").split(), size) for i in c.tolist()])


def _plain(word: str) -> str:
    return word.strip().lower().replace("-", " ").replace("_", " ")
