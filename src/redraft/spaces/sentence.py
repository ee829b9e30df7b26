"""Sentences as they are typed: bytes of UTF-8, so that a batch of them is one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from redraft.core.errors import UsageError
from redraft.core.sentences import LENGTH, cut, tidy
from redraft.spaces.writing import wrapped, written


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """Raw text; what it means is the matter of an expert. ``LENGTH`` bytes of each are kept."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> uint8 [N, LENGTH]: UTF-8 in composed form (NFC), blanks squeezed, zeros behind.

        What is too long is cut between two characters; nothing else is lost.
        """
        rows = np.zeros((len(texts), LENGTH), np.uint8)
        for row, text in zip(rows, texts, strict=True):
            content = cut(tidy(text))
            row[: len(content)] = np.frombuffer(content, np.uint8)
        return torch.from_numpy(rows)

    def words(self, c: Tensor) -> list[str]:
        """uint8 [N, LENGTH] -> the sentences, such that ``encode(words(c))`` is c again."""
        rows = c.cpu().numpy()
        return [row.tobytes().split(b"\0", 1)[0].decode("utf-8", "replace") for row in rows]

    def read(self, text: str) -> Tensor:
        """What a user types -> uint8 [1, LENGTH]; UsageError where it says nothing or is too long."""
        tidied = tidy(text)
        if not tidied:
            raise UsageError('The text is empty; say what the picture should show, such as "a red shoe".')
        if len(tidied.encode()) > LENGTH:
            raise UsageError(
                f"The text has {len(tidied.encode())} bytes, and {LENGTH} are read: say it in fewer words."
            )
        return self.encode([text])

    def show(self, c: Tensor, size: int) -> Tensor:
        """The sentences written on plain squares, RGB [N, 3, size, size] in [-1, 1]."""
        shown = [written(wrapped(text, size), size) for text in self.words(c)]
        return torch.stack(shown) if shown else torch.empty(0, 3, size, size)
