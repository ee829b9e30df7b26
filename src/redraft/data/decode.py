"""One example -> arrays of one size, both sides of a pair with the same geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from redraft.core import images
from redraft.core.images import RGB
from redraft.data import labelmaps, source
from redraft.data.folder import Example
from redraft.data.source import Source

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of width and height


@dataclass(frozen=True)
class Decoded:
    target: np.ndarray  # [C, S, S] uint8 or uint16
    condition: np.ndarray | None  # [Cc, S, S] uint8, or label indices [2S, 2S] uint8
    moved: int = 0  # label pixels that were moved to the palette


def example(
    example: Example,
    side: int,
    channels: int,
    condition_channels: int,
    *,
    labels: tuple[Sequence[RGB] | None, int] | None,
    bits: int = 8,
) -> Decoded:
    """Decode, scale the short side to ``side`` px and crop the middle; ``labels`` = (palette, classes).

    The target's frame is the law: a condition of another size or shape is laid over it, so that equal
    places stay equal. Label maps are taken at twice the size by the nearest pixel.
    """
    array = source.read(example.target, at_least=side)
    box = middle(array.shape[1], array.shape[0])
    target = deep(picture(array, box, side, channels), bits)
    if example.condition is None:
        return Decoded(target, None)
    if labels is None:
        given = eight_bit(source.read(example.condition, at_least=side))
        return Decoded(target, picture(given, box, side, condition_channels))
    condition, moved = label_map(example.condition, box, 2 * side, *labels)
    return Decoded(target, condition, moved)


def middle(width: int, height: int) -> Box:
    """The centre square of a frame, as shares of its width and height."""
    short = min(width, height)
    across, down = short / width, short / height
    return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def picture(array: np.ndarray, box: Box, side: int, channels: int) -> np.ndarray:
    """[H, W, 1 | 3] -> [channels, side, side], antialiased."""
    height, width = array.shape[:2]
    pixels = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    small = images.resize(images.to_channels(array, channels), (side, side), pixels)
    return small.transpose(2, 0, 1)


def label_map(
    where: Source, box: Box, side: int, palette: Sequence[RGB] | None, classes: int
) -> tuple[np.ndarray, int]:
    """[side, side] uint8 indices, and the number of pixels that had to be moved to the palette."""
    return labelmaps.indices(crop_nearest(source.read_labels(where), box, side), palette, classes)


def crop_nearest(labels: np.ndarray, box: Box, side: int) -> np.ndarray:
    """The box of [H, W, ...] as [side, side, ...], each pixel the nearest one."""
    rows = _nearest(box[1], box[3], labels.shape[0], side)
    columns = _nearest(box[0], box[2], labels.shape[1], side)
    return labels[rows[:, None], columns]


def eight_bit(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == np.uint8 else np.rint(array / 257.0).astype(np.uint8)


def deep(array: np.ndarray, bits: int) -> np.ndarray:
    """The array at 8 or 16 bits; 255 and 65535 are the same white."""
    if bits == 16:
        return array if array.dtype == np.uint16 else array.astype(np.uint16) * 257
    return eight_bit(array)


def _nearest(start: float, end: float, length: int, count: int) -> np.ndarray:
    """Pixels of a row of ``length`` under the centres of ``count`` places from share start to end."""
    centres = start + (np.arange(count) + 0.5) * (end - start) / count
    return np.clip((centres * length).astype(np.int64), 0, length - 1)
