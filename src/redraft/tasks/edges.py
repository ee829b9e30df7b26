"""Sketch or edge drawing to photo; the drawings can be made from the photos."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from redraft.core.errors import DataError
from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw, read_picture
from redraft.spaces.edges import draw_edges
from redraft.spaces.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class EdgesToPhoto:
    size: int
    channels: int
    made: bool = True  # drawings are made from the photos; False: the folder has drawings

    @property
    def spec(self) -> Spec:
        return Spec(size=self.size, channels=self.channels, condition="picture", width=1)

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        if folder.condition_kind == "labels":
            return "its conditions are label maps, not drawings (use --task labels)"
        return None

    @classmethod
    def of(cls, folder: Folder, size: int) -> EdgesToPhoto:
        return cls(size=size, channels=folder.channels, made=folder.condition_kind == "none")

    @property
    def paper(self) -> Pixels:
        return Pixels(size=self.size, channels=1)

    def pair(self, raw: Raw, rng: Noise) -> Pair:
        x = Pixels(size=self.size, channels=self.channels).encode(raw.target)
        if self.made:
            return Pair(draw_edges(x), x)
        if raw.condition is None:
            raise DataError("These pictures have no drawings beside them, which this model needs.")
        return Pair(self.paper.encode(raw.condition), x)

    def keep(self, x: Tensor, c: Tensor | None) -> Tensor:
        return x

    def show(self, c: Tensor, n: int) -> Tensor:
        return self.paper.show(c)

    def read(self, argument: str, rng: Noise) -> Tensor:
        """A drawing: dark lines on light paper."""
        return self.paper.encode(read_picture(argument, size=self.size)[0])
