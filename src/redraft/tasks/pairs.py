"""Picture to picture: any two pictures of the same thing; a label map is seen as a picture of its colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from redraft.core.errors import DataError
from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw, read_picture
from redraft.spaces.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class PictureToPicture:
    size: int
    channels: int
    condition_channels: int = 3
    half: str = ""  # left or right: where side-by-side pictures hold what is given

    @property
    def spec(self) -> Spec:
        return Spec(
            size=self.size, channels=self.channels, condition="picture", width=self.condition_channels
        )

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        if folder.unpaired:
            return "its two sides are not pairs (use --task unpaired)"
        return "its pictures come without partners" if folder.condition_kind == "none" else None

    @classmethod
    def of(cls, folder: Folder, size: int) -> Self:
        return cls(
            size=size,
            channels=folder.channels,
            condition_channels=folder.condition_channels,
            half=folder.given_half,
        )

    @property
    def given(self) -> Pixels:
        return Pixels(size=self.size, channels=self.condition_channels)

    def pair(self, raw: Raw, rng: Noise) -> Pair:
        if raw.condition is None:
            raise DataError("These pictures have no partners to start from, which this model needs.")
        target = Pixels(size=self.size, channels=self.channels).encode(raw.target)
        return Pair(self.given.encode(raw.condition), target)

    def keep(self, x: Tensor, c: Tensor | None) -> Tensor:
        return x

    def show(self, c: Tensor, n: int) -> Tensor:
        return self.given.show(c)

    def read(self, argument: str, rng: Noise) -> Tensor:
        return self.given.encode(read_picture(argument, size=self.size, half=self.half)[0])
