"""Sentence to picture, learned from pictures with captions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from redraft.core.errors import DataError
from redraft.core.rng import Noise
from redraft.core.sentences import LENGTH
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw
from redraft.spaces.pixels import Pixels
from redraft.spaces.sentence import Sentence


@dataclass(frozen=True, kw_only=True)
class TextToPicture:
    """The condition is the caption's bytes; an expert (``condition.expert``) makes them a vector."""

    size: int
    channels: int

    @property
    def spec(self) -> Spec:
        return Spec(size=self.size, channels=self.channels, condition="sentence", width=LENGTH)

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        """Names of categories are captions too, see ``data.captioned``."""
        if folder.has_captions or len(folder.categories) >= 2:
            return None
        return (
            "its pictures have no captions (write each into NAME.txt beside NAME.png, or all into "
            'metadata.jsonl, a line {"file_name": "NAME.png", "text": "what it shows"} a picture)'
        )

    @classmethod
    def of(cls, folder: Folder, size: int) -> TextToPicture:
        return cls(size=size, channels=folder.channels)

    def pair(self, raw: Raw, rng: Noise) -> Pair:
        if len(raw.captions) != len(raw.target):
            raise DataError("These pictures have no captions, which this model needs.")
        target = Pixels(size=self.size, channels=self.channels).encode(raw.target)
        return Pair(Sentence().encode(raw.captions).to(target.device), target)

    def keep(self, x: Tensor, c: Tensor | None) -> Tensor:
        return x

    def show(self, c: Tensor, n: int) -> Tensor:
        return Sentence().show(c, max(self.size, 64))

    def read(self, argument: str, rng: Noise) -> Tensor:
        return Sentence().read(argument)
