"""What a user hands to a trained model: one picture or label map, with the geometry of the cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from redraft.core import images
from redraft.core.errors import DataError
from redraft.core.images import RGB, File
from redraft.data import decode, labelmaps

FOREIGN = 0.2  # share of pixels far from every label beyond which a file is no label map


def read_picture(file: File, *, size: int, half: str = "") -> tuple[Tensor, Tensor]:
    """(raw [1, C, size, size] uint8 or uint16, opaque [1, 1, size, size] bool): the short side resized to
    ``size`` px, the middle cropped. ``opaque`` is False wherever a transparent pixel takes part.
    ``half`` ("left", "right"): the half to take of a picture that is twice as wide as high."""
    array = _cut(images.read(file), half)
    box = decode.middle(array.shape[1], array.shape[0])
    raw = decode.picture(array, box, size, array.shape[2])
    solid = _cut(images.read_opaque(file), half)
    share = decode.picture(np.uint8(255) * solid[..., None].astype(np.uint8), box, size, 1)
    return torch.from_numpy(np.array(raw))[None], torch.from_numpy(share[None] > 250)


def read_label_map(
    file: File, *, size: int, classes: int, palette: Sequence[RGB] | None, half: str = ""
) -> Tensor:
    """uint8 [1, size, size] label indices by the nearest pixel, colours snapped to the palette.

    An indexed file is read through its own colours, unless they are unlike the palette.
    ``half`` is as for ``read_picture``. Raises DataError for values that are no known
    label, and for a file that is no label map.
    """
    labels, known = _cut(images.read_labels(file), half), tuple(palette or ()) or None
    if known is not None and labels.ndim == 2:
        labels = _coloured(file, labels, known, classes)
    name = images.name_of(file)
    if known is None and labels.ndim == 2 and labels.max(initial=0) >= classes:
        strange = np.unique(labels[labels >= classes])[:5].tolist()
        raise DataError(f"{name} has label values {strange}; the model knows 0 to {classes - 1}.")
    if known is None and labels.ndim == 3 and not (labels == labels[..., :1]).all():
        raise DataError(f"{name} is in colour; the model knows label maps of values 0 to {classes - 1}.")
    far = labelmaps.far(labels, known, classes)
    if far > FOREIGN:
        raise DataError(
            f"{name} is not a label map of this model: {far:.0%} of its pixels are unlike any of its "
            f"{classes} labels."
        )
    box = decode.middle(labels.shape[1], labels.shape[0])
    found, _ = labelmaps.indices(decode.crop_nearest(labels, box, size), known, classes)
    return torch.from_numpy(np.ascontiguousarray(found))[None]


def _coloured(file: File, labels: np.ndarray, known: tuple[RGB, ...], classes: int) -> np.ndarray:
    """Indices of a file with colours of its own, as those colours where the model knows them."""
    own = images.read_palette(file)
    if own is None or own[:classes] == known or labels.max(initial=0) >= len(own):
        return labels
    colours = np.array(own, np.uint8)[labels]
    return colours if labelmaps.far(colours, known, classes) <= FOREIGN else labels


def _cut(array: np.ndarray, half: str) -> np.ndarray:
    """The given half of a side-by-side picture; a picture of another shape is that half already."""
    height, width = array.shape[:2]
    if not half or not 1.9 <= width / height <= 2.1:
        return array
    return array[:, : width // 2] if half == "left" else array[:, -(width // 2) :]
