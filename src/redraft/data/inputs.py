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


def read_picture(file: File, *, size: int) -> tuple[Tensor, Tensor]:
    """(raw [1, C, size, size] uint8 or uint16, opaque [1, 1, size, size] bool): the short side resized to
    ``size`` px, the middle cropped. ``opaque`` is False wherever a transparent pixel takes part."""
    array = images.read(file)
    box = decode.middle(array.shape[1], array.shape[0])
    raw = decode.picture(array, box, size, array.shape[2])
    solid = images.read_opaque(file)
    share = decode.picture(np.uint8(255) * solid[..., None].astype(np.uint8), box, size, 1)
    return torch.from_numpy(np.ascontiguousarray(raw))[None], torch.from_numpy(share[None] > 250)


def read_label_map(file: File, *, size: int, classes: int, palette: Sequence[RGB] | None) -> Tensor:
    """uint8 [1, size, size] label indices by the nearest pixel, colours snapped to the palette.

    Raises DataError for values that are no known label, and for a file that is no label map.
    """
    labels, known = images.read_labels(file), tuple(palette or ()) or None
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
