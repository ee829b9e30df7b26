"""Experts that are on every machine: how often letters stand in words, and cells of a picture as channels."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.app import experts
from redraft.nets.experts import BlackBox, Expert

TEXT, IMAGE = "text:toy", "image:toy"
CELL = 4  # px a side: what becomes channels
KNOWN = {"red", "blue", "ball", "dot", "left", "right", "a"}


class Letters(BlackBox):
    """Knows few words."""

    def __init__(self) -> None:
        self.read: list[str] = []  # sentences, in the order in which they were read
        super().__init__(self.count, name=TEXT, kind="text", shape=(26,), meaning="letters", licence="ours")

    def count(self, words: Sequence[str]) -> Tensor:
        self.read += words
        return torch.tensor([[w.count(chr(97 + k)) for k in range(26)] for w in words]).float()

    def foreign(self, sentences: Sequence[str]) -> float:
        words = [word for text in sentences for word in text.split()]
        return sum(word not in KNOWN for word in words) / max(1, len(words))


class Cells(BlackBox):
    """An autoencoder that loses nothing; ``gain`` is its weights."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain, self.seen = gain, 0  # pictures that it has looked at
        super().__init__(
            self.fold,
            name=IMAGE,
            kind="autoencoder",
            shape=lambda size: (3 * CELL**2, size // CELL, size // CELL),
            meaning="cells",
            licence="ours",
            version=str(gain),
            back=lambda z: F.pixel_shuffle(z / gain, CELL),
        )

    def fold(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return self.gain * F.pixel_unshuffle(x, CELL)


def at_hand(monkeypatch: pytest.MonkeyPatch, *toys: Expert) -> None:
    """From here on these experts are found by their names."""
    load, by_name = experts.load, {toy.name: toy for toy in toys}
    monkeypatch.setattr(experts, "load", lambda name: by_name[name] if name in by_name else load(name))
