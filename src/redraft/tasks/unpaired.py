"""Picture to picture without pairs: two sides, and no picture of the one belongs to one of the other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from redraft.core.errors import DataError
from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw, read_picture
from redraft.spaces.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class Unpaired:
    """The condition is a picture of the given side, the target an unrelated one of the wanted side.

    A folder of pairs suits too: that they are pairs is not used.
    """

    size: int
    channels: int
    condition_channels: int = 3
    half: str = ""  # left or right: where side-by-side pictures hold what is given

    @property
    def spec(self) -> Spec:
        width = self.condition_channels
        return Spec(size=self.size, channels=self.channels, condition="picture", width=width, paired=False)

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        if folder.condition_kind != "none":
            return None
        if len(folder.categories) == 2:
            a, b = folder.categories
            return (
                "it was read as two categories; say which folder is given and which is wanted, with "
                f"--direction {a}:{b} or --direction {b}:{a}"
            )
        return "it has one side alone (put given pictures in a folder trainA and wanted ones in trainB)"

    @classmethod
    def of(cls, folder: Folder, size: int) -> Unpaired:
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
            raise DataError("These pictures are of one side alone; this model needs those of two.")
        target = Pixels(size=self.size, channels=self.channels).encode(raw.target)
        return Pair(self.given.encode(raw.condition), target)

    def keep(self, x: Tensor, c: Tensor | None) -> Tensor:
        return x

    def show(self, c: Tensor, n: int) -> Tensor:
        return self.given.show(c)

    def read(self, argument: str, rng: Noise) -> Tensor:
        return self.given.encode(read_picture(argument, size=self.size, half=self.half)[0])
