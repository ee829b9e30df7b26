"""Super-resolution: a picture that, reduced again, is exactly the small one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw, read_picture
from redraft.spaces.pixels import Pixels, around


@dataclass(frozen=True, kw_only=True)
class Upscale:
    """The condition is the small picture with each pixel repeated ``factor`` times each way."""

    size: int
    channels: int
    factor: int = 4

    def __post_init__(self) -> None:
        if self.factor < 2 or self.size % self.factor:
            raise UsageError(f"task.factor must be 2, 4 or another divisor of size {self.size}.")

    @property
    def spec(self) -> Spec:
        return Spec(size=self.size, channels=self.channels, condition="picture", width=self.channels)

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        return None

    @classmethod
    def of(cls, folder: Folder, size: int) -> Upscale:
        return cls(size=size, channels=folder.channels)

    def pair(self, raw: Raw, rng: Noise) -> Pair:
        x = Pixels(size=self.size, channels=self.channels).encode(raw.target)
        return Pair(self._blocks(x), x)

    def keep(self, x: Tensor, c: Tensor) -> Tensor:
        """The detail of x about the small picture's pixels, fainter where it would leave [-1, 1]."""
        return around(c, x - self._blocks(x), lambda room: -self._spread(F.max_pool2d(-room, self.factor)))

    def show(self, c: Tensor, n: int) -> Tensor:
        return Pixels(size=self.size, channels=self.channels).show(c)

    def read(self, argument: str, rng: Noise) -> Tensor:
        """The small picture; a larger one is reduced to size / factor first."""
        small = Pixels(size=self.size // self.factor, channels=self.channels)
        x = small.encode(read_picture(argument, size=self.size // self.factor)[0])
        return self._spread(x)

    def _blocks(self, x: Tensor) -> Tensor:
        return self._spread(F.avg_pool2d(x, self.factor))

    def _spread(self, small: Tensor) -> Tensor:
        return F.interpolate(small, scale_factor=self.factor, mode="nearest")
