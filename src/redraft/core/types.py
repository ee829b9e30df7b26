"""The shape legend, and the one record that passes between the rooms.

N  pictures in a batch           x  a picture of the target space, float32 [N, C, H, W] in [-1, 1]
C  channels of a picture         c  a condition: None, int64 [N] (category), float32 [N, Cc, H, W] (picture)
                                  or [N, D] (vector), uint8 [N, L] (sentence: UTF-8 bytes, zeros behind)
H, W  height, width (px)         z  latent noise ~ N(0, I), [N, *z_shape]
K  Langevin steps                E  energy [N], lower = more like the data
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor


class Pair(NamedTuple):
    """A training example of a task: what is given, and what is wanted."""

    condition: Tensor | None
    target: Tensor


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a network must know of the two spaces that it joins.

    ``width`` of a condition is its number of channels (picture), of classes (category), of numbers
    (vector), of bytes (sentence), or 0 (none).
    """

    size: int  # H = W of the target, px
    channels: int  # C of the target
    condition: Literal["none", "category", "picture", "vector", "sentence"]
    width: int = 0
    paired: bool = True  # whether a target is the truth of its condition
    side: int = 0  # H = W of a picture condition; 0 where it is the target's
