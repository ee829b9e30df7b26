"""Category to picture."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from redraft.core.errors import DataError
from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw
from redraft.spaces.category import Category
from redraft.spaces.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class CategoryToPicture:
    size: int
    channels: int
    names: tuple[str, ...]

    @property
    def spec(self) -> Spec:
        return Spec(size=self.size, channels=self.channels, condition="category", width=len(self.names))

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        if len(folder.categories) >= 2:
            return None
        return "it has no categories (put the pictures of each category in a folder of its name)"

    @classmethod
    def of(cls, folder: Folder, size: int) -> CategoryToPicture:
        return cls(size=size, channels=folder.channels, names=folder.categories)

    def pair(self, raw: Raw, rng: Noise) -> Pair:
        if raw.category is None:
            raise DataError("These pictures have no categories, which this model needs.")
        target = Pixels(size=self.size, channels=self.channels).encode(raw.target)
        return Pair(Category(names=self.names).encode(raw.category), target)

    def keep(self, x: Tensor, c: Tensor | None) -> Tensor:
        return x

    def show(self, c: Tensor, n: int) -> Tensor:
        return Category(names=self.names).show(c, max(self.size, 32))

    def read(self, argument: str, rng: Noise) -> Tensor:
        return Category(names=self.names).read(argument)
