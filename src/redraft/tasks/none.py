"""Pictures alone: no condition."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from redraft.core.errors import UsageError
from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw
from redraft.spaces.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class Nothing:
    size: int
    channels: int

    @property
    def spec(self) -> Spec:
        return Spec(size=self.size, channels=self.channels, condition="none")

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        return None

    @classmethod
    def of(cls, folder: Folder, size: int) -> Nothing:
        return cls(size=size, channels=folder.channels)

    def pair(self, raw: Raw, rng: Noise) -> Pair:
        return Pair(None, Pixels(size=self.size, channels=self.channels).encode(raw.target))

    def keep(self, x: Tensor, c: Tensor | None) -> Tensor:
        return x

    def show(self, c: Tensor | None, n: int) -> None:
        return None

    def read(self, argument: str, rng: Noise) -> None:
        raise UsageError(
            f"This model makes pictures from nothing, so {argument!r} has no meaning; use --variants N."
        )
