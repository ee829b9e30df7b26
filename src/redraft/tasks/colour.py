"""Grey to colour: the brightness is given and kept."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw, read_picture
from redraft.spaces.pixels import Pixels, around, luma


@dataclass(frozen=True, kw_only=True)
class Colour:
    """The condition is the picture's luma, [N, 1, S, S]."""

    size: int

    @property
    def spec(self) -> Spec:
        return Spec(size=self.size, channels=3, condition="picture", width=1)

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        return None if folder.channels == 3 else "its pictures are grey, so there is no colour to learn"

    @classmethod
    def of(cls, folder: Folder, size: int) -> Colour:
        return cls(size=size)

    def pair(self, raw: Raw, rng: Noise) -> Pair:
        x = Pixels(size=self.size, channels=3).encode(raw.target)
        return Pair(luma(x), x)

    def keep(self, x: Tensor, c: Tensor) -> Tensor:
        """The colour of x about the given luma, less saturated where it would leave [-1, 1]."""
        return around(c, x - luma(x), lambda room: room.amin(1, keepdim=True))

    def show(self, c: Tensor, n: int) -> Tensor:
        return Pixels(size=self.size, channels=1).show(c)

    def read(self, argument: str, rng: Noise) -> Tensor:
        return Pixels(size=self.size, channels=1).encode(read_picture(argument, size=self.size)[0])
