"""Label map to photo."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from redraft.core.errors import DataError
from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw, read_label_map
from redraft.spaces.labels import Labels
from redraft.spaces.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class LabelsToPhoto:
    size: int
    channels: int
    classes: int
    palette: tuple[tuple[int, int, int], ...] = ()  # empty: the maps hold bare indices
    half: str = ""  # left or right: where side-by-side pictures hold the map

    @property
    def spec(self) -> Spec:
        return Spec(size=self.size, channels=self.channels, condition="picture", width=self.classes)

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        return None if folder.condition_kind == "labels" else "it has no label maps beside the photos"

    @classmethod
    def of(cls, folder: Folder, size: int) -> LabelsToPhoto:
        palette = tuple(folder.palette or ())
        return cls(
            size=size,
            channels=folder.channels,
            classes=folder.classes,
            palette=palette,
            half=folder.given_half,
        )

    @property
    def labels(self) -> Labels:
        return Labels(size=self.size, classes=self.classes, palette=self.palette)

    def pair(self, raw: Raw, rng: Noise) -> Pair:
        if raw.condition is None:
            raise DataError("These pictures have no label maps, which this model needs.")
        target = Pixels(size=self.size, channels=self.channels).encode(raw.target)
        return Pair(self.labels.encode(raw.condition), target)

    def keep(self, x: Tensor, c: Tensor | None) -> Tensor:
        return x

    def show(self, c: Tensor, n: int) -> Tensor:
        return self.labels.show(c)

    def read(self, argument: str, rng: Noise) -> Tensor:
        raw = read_label_map(
            argument, size=2 * self.size, classes=self.classes, palette=self.palette, half=self.half
        )
        return self.labels.encode(raw)
