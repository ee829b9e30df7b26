"""What a task is: a condition space, a target space, and how a raw example becomes a Pair."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw


class Task(Protocol):
    """A frozen dataclass whose fields are plain values, so that a bundle can store it."""

    @property
    def spec(self) -> Spec:
        """What networks must know of the two spaces."""
        ...

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        """Why this folder does not suit the task, in words; None when it does."""
        ...

    @classmethod
    def of(cls, folder: Folder, size: int) -> Task:
        """The task for this folder's pictures at ``size`` px."""
        ...

    def pair(self, raw: Raw, rng: Noise) -> Pair:
        """A batch of raw uint8 examples -> condition and target on the same device."""
        ...

    def keep(self, x: Tensor, c: Any) -> Tensor:
        """x with what c fixes put back, both [N, ...]; differentiable in x."""
        ...

    def show(self, c: Any, n: int) -> Tensor | None:
        """The condition as RGB pictures [N, 3, H, W] in [-1, 1]; None where there is none."""
        ...

    def read(self, argument: str, rng: Noise) -> Tensor | None:
        """One condition [1, ...] from what a user types: a word or a picture file."""
        ...
