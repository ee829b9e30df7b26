"""Sketch or edge drawing to photo; the drawings can be made from the photos."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.core.errors import DataError
from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw, read_picture
from redraft.sketches import Hand, redrawn
from redraft.spaces.edges import draw_edges
from redraft.spaces.pixels import Pixels

REACH = (5, 13)  # px at 64 px over which lines are felt


@dataclass(frozen=True, kw_only=True)
class EdgesToPhoto:
    """The condition is the drawing, and the same drawing spread out: see ``spread``."""

    size: int
    channels: int
    made: bool = True  # drawings are made from the photos; False: the folder has drawings
    half: str = ""  # left or right: where side-by-side pictures hold the drawing
    hand: Hand = Hand()  # how freely drawings are drawn again in training, for those that people will draw

    @property
    def spec(self) -> Spec:
        return Spec(size=self.size, channels=self.channels, condition="picture", width=1 + len(REACH))

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        if folder.condition_kind == "labels":
            return "its conditions are label maps, not drawings (use --task labels)"
        if folder.unpaired:
            return "its two sides are not pairs (use --task unpaired, or name the folder of the photos)"
        return None

    @classmethod
    def of(cls, folder: Folder, size: int) -> EdgesToPhoto:
        return cls(
            size=size,
            channels=folder.channels,
            made=folder.condition_kind == "none",
            half=folder.given_half,
        )

    @property
    def paper(self) -> Pixels:
        return Pixels(size=self.size, channels=1)

    def pair(self, raw: Raw, rng: Noise) -> Pair:
        x = Pixels(size=self.size, channels=self.channels).encode(raw.target)
        if self.made:
            return Pair(spread(draw_edges(x)), x)
        if raw.condition is None:
            raise DataError("These pictures have no drawings beside them, which this model needs.")
        return Pair(spread(self.paper.encode(raw.condition)), x)

    def redrawn(self, c: Tensor, rng: Noise) -> Tensor:
        """Conditions as ``hand`` draws them again; the same ones where it is still."""
        return c if self.hand.still else spread(redrawn(c[:, :1], self.hand, rng))

    def keep(self, x: Tensor, c: Tensor | None) -> Tensor:
        return x

    def show(self, c: Tensor, n: int) -> Tensor:
        return self.paper.show(c[:, :1])

    def read(self, argument: str, rng: Noise) -> Tensor:
        """A drawing: dark lines on light paper."""
        return spread(self.paper.encode(read_picture(argument, size=self.size, half=self.half)[0]))


def spread(drawing: Tensor) -> Tensor:
    """[N, 1, S, S] -> [N, 3, S, S]: the lines, and how much ink is near, at two reaches.

    Lines of one pixel leave most of a drawing blank, where a network of local filters knows nothing.
    """
    size = drawing.shape[-1]
    near = [_mean(drawing, max(3, reach * size // 64 // 2 * 2 + 1)) for reach in REACH]
    return torch.cat([drawing, *near], 1)


def _mean(x: Tensor, side: int) -> Tensor:
    padded = F.pad(x, (side // 2,) * 4, mode="replicate")
    return 1 - 4 * (1 - F.avg_pool2d(padded, side, 1))  # ink is rare: its share is stretched
