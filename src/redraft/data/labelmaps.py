"""Label maps: told from photos and drawings, their palette found, their pixels turned into indices.

Three kinds of file carry labels: indices (grey or palette PNG), exact colours, and colours that a
lossy format has damaged; the last are snapped to the palette that their flat parts show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from redraft.core import images
from redraft.core.errors import RedraftError
from redraft.core.images import RGB, SMALL_LABEL
from redraft.data.source import Source, content

MOST_COLOURS = 64  # a map of more colours than this is taken for a picture
DAMAGE = 12  # lossy formats move a flat colour by less than this, each channel
APART = 40  # and two colours of a palette differ by more than this in some channel
LOOKED_AT = 24  # maps whose flat parts are looked at
Kind = Literal["labels", "drawing", "picture"]


@dataclass(frozen=True)
class Labels:
    """A palette (None: plain indices need none) and the number of label values."""

    palette: tuple[RGB, ...] | None
    classes: int
    moved: float = 0.0  # share of pixels that had to be moved to the palette


def indices(labels: np.ndarray, palette: Sequence[RGB] | None, classes: int) -> tuple[np.ndarray, int]:
    """A map as ``images.read_labels`` gives it -> ([H, W] uint8 indices below ``classes``, pixels moved).

    Values of a [H, W] map below ``classes`` are indices already; greater ones, and all of [H, W, 3],
    are colours and go to the nearest of the palette. A pixel is *moved* when its colour is not in the
    palette; without a palette, values that are no class count as moved and become 0.
    """
    if labels.ndim == 2:
        if labels.max(initial=0) < classes:
            return labels, 0
        if palette is None:
            wrong = labels >= classes
            return np.where(wrong, 0, labels).astype(np.uint8), int(wrong.sum())
        looked_up, moved = _nearest(np.repeat(labels[..., None], 3, -1), palette)
        small = labels < min(classes, SMALL_LABEL)
        return np.where(small, labels, looked_up).astype(np.uint8), int((moved & ~small).sum())
    if palette is None:
        grey = labels[..., 0] if (labels == labels[..., :1]).all() else None
        if grey is None:
            return np.zeros(labels.shape[:2], np.uint8), labels[..., 0].size
        return indices(grey, None, classes)
    looked_up, moved = _nearest(labels, palette)
    unlike = moved & (np.abs(np.array(palette, np.int32)[looked_up] - labels).max(-1) > 3 * DAMAGE)
    return _without_seams(looked_up, unlike), int(moved.sum())


def _without_seams(found: np.ndarray, unlike: np.ndarray) -> np.ndarray:
    """Blends at the border of two labels are near to neither: they take the label of a sure neighbour."""
    found, unsure = found.copy(), unlike.copy()
    for _ in range(2):  # lossy formats blend two pixels at most
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            sure_beside = np.roll(~unsure, step, axis)
            edge = [slice(None)] * 2
            edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
            sure_beside[tuple(edge)] = False
            taken = unsure & sure_beside
            found[taken] = np.roll(found, step, axis)[taken]
            unsure &= ~taken
    return found


def _nearest(colours: np.ndarray, palette: Sequence[RGB]) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest palette colour for each pixel, and whether it is not that very colour."""
    packed = _packed(colours)
    found, inverse = np.unique(packed, return_inverse=True)
    table = np.array(palette, np.int32)
    unpacked = np.stack([found >> 16, found >> 8 & 255, found & 255], -1).astype(np.int32)
    nearest = np.empty(len(found), np.int64)
    for start in range(0, len(found), 4096):  # bounded memory, also for 16 million colours
        part = unpacked[start : start + 4096, None]
        nearest[start : start + 4096] = ((part - table) ** 2).sum(-1).argmin(1)
    exact = (table[nearest] == unpacked).all(-1)
    shape = colours.shape[:2]
    return nearest.astype(np.uint8)[inverse].reshape(shape), ~exact[inverse].reshape(shape)


def far(labels: np.ndarray, palette: Sequence[RGB] | None, classes: int) -> float:
    """Share of pixels whose colour is unlike every colour of the palette (0 for plain indices)."""
    if palette is None or (labels.ndim == 2 and labels.max(initial=0) < classes):
        return 0.0
    rgb = _rgb(labels)
    found, _ = _nearest(rgb, palette)
    distance = np.abs(np.array(palette, np.int32)[found] - rgb).max(-1)
    return float((distance > 3 * DAMAGE).mean())


class Sample(NamedTuple):
    """Some pictures of one side, as ``images.read_labels`` gives them, and whether their format is lossy."""

    maps: Sequence[np.ndarray]
    lossy: bool = False


def kind_of(sample: Sample) -> Kind:
    """What a sample of pictures holds, by content alone."""
    if find(sample) is not None:
        return "labels"
    drawn = sum(_is_drawing(_middle(m)) for m in sample.maps)
    return "drawing" if drawn > len(sample.maps) / 2 else "picture"


def find(sample: Sample, *, named: bool = False) -> Labels | None:
    """The labels of a sample of maps, or None when it does not look like label maps.

    ``named``: the folder says that these are labels, so drawings of two colours are masks, and
    damage is mended in lossless files too.
    """
    maps = sample.maps
    seen = [_middle(m) for m in maps[:: max(1, len(maps) // LOOKED_AT)]]
    if not seen or (not named and all(map(_is_drawing, seen))):
        return None
    flat = [_flat(m) for m in seen]
    mend = sample.lossy or named
    if np.mean([f.mean() for f in flat]) < (0.05 if mend else 0.5):
        return None
    counts = _counted(seen)
    if len(counts) <= MOST_COLOURS:  # photos are told by their middle; maps are looked at whole
        counts = _counted(maps)
    grey = all(m.ndim == 2 for m in maps)
    if len(counts) < 2 or (grey and max(counts) < SMALL_LABEL):
        return Labels(None, max(counts) + 1) if len(counts) > 1 else None
    if not grey and any(m.ndim == 2 for m in maps):
        return None
    if len(counts) <= MOST_COLOURS:
        return _of_values(counts) if grey else Labels(tuple(sorted(map(_unpack, counts))), len(counts))
    if not mend:
        return None
    colours = Counter({v * 0x010101: n for v, n in counts.items()}) if grey else counts
    return _of_damaged(seen, flat, colours, named)


def _counted(maps: Sequence[np.ndarray]) -> Counter[int]:
    """How often each value of [H, W] maps, or each packed colour of [H, W, 3], occurs."""
    counts: Counter[int] = Counter()
    for m in maps:
        values, times = np.unique(m if m.ndim == 2 else _packed(m), return_counts=True)
        counts.update(dict(zip(values.tolist(), times.tolist(), strict=True)))
    return counts


def _of_values(counts: Counter[int]) -> Labels:
    """Grey values: small ones are indices; marks such as 127 and 255 follow in order."""
    small = [v for v in counts if v < SMALL_LABEL]
    marks = sorted(v for v in counts if v >= SMALL_LABEL)
    greys = [*range(max(small) + 1), *marks] if small else marks
    return Labels(tuple((v, v, v) for v in greys), len(greys))


def _of_damaged(
    seen: Sequence[np.ndarray], flat: Sequence[np.ndarray], colours: Counter[int], named: bool
) -> Labels | None:
    """The palette that the flat parts of lossy maps gather around; None when they do not gather.

    Measured (24 pictures each, shares of flat pixels within DAMAGE of their colour): facade maps at
    JPEG quality 60 to 95 .96 to 1.0; photos .33 to .80; sketches .96 around two greys.
    """
    inside: Counter[int] = Counter()
    for m, f in zip(seen, flat, strict=True):
        values, counts = np.unique(_packed(_rgb(m))[f], return_counts=True)
        inside.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    total = sum(inside.values())
    centres: list[np.ndarray] = []
    for colour, count in inside.most_common(4096):
        rgb = np.array(_unpack(colour), np.int32)
        if count < total * 2e-4 or len(centres) > MOST_COLOURS:
            break
        if all(np.abs(rgb - c).max() > APART for c in centres):
            centres.append(rgb)
    if not 2 <= len(centres) <= MOST_COLOURS or _gathered(inside, centres) < (0.9 if named else 0.95):
        return None
    coloured = any(np.ptp(c) > APART for c in centres)
    if not named and (len(centres) < 3 or not coloured):
        return None
    palette = sorted(tuple(_mended(c).tolist()) for c in centres)
    exact = {_pack(p) for p in palette}
    moved = sum(n for c, n in colours.items() if c not in exact) / colours.total()
    return Labels(tuple(palette), len(palette), float(moved))


def _gathered(colours: Counter[int], centres: Sequence[np.ndarray]) -> float:
    """Share of pixels within DAMAGE of a centre."""
    table = np.array([_unpack(c) for c in colours], np.int32)
    near = np.logical_or.reduce([np.abs(table - c).max(-1) <= DAMAGE for c in centres])
    return float(np.array(list(colours.values()))[near].sum() / colours.total())


def _mended(centre: np.ndarray) -> np.ndarray:
    """Lossy formats land a little beside 0 and 255; palettes rarely do."""
    return np.where(centre <= 4, 0, np.where(centre >= 251, 255, centre))


def _is_drawing(picture: np.ndarray) -> bool:
    """Thin dark (or light) lines on an empty ground: one value nearly everywhere, the rest in strokes."""
    rgb = _rgb(picture).astype(np.int32)
    luma = rgb.sum(-1) // 3
    ground = int(np.bincount(luma.ravel(), minlength=256).argmax())
    ink = np.abs(luma - ground) > 48
    if not 0.002 < ink.mean() < 0.4 or 48 < ground < 208:
        return False
    return bool(_eroded(ink).sum() < 0.1 * ink.sum())


def _eroded(mask: np.ndarray, radius: int = 2) -> np.ndarray:
    """Pixels whose whole (2 radius + 1)-square is in the mask."""
    for axis in (0, 1):
        padded = np.pad(mask, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=axis)
        mask = np.logical_and.reduce(windows, axis=-1)
    return mask


def _middle(picture: np.ndarray, most: int = 256) -> np.ndarray:
    """The middle of a large picture, in full detail: enough to tell its kind."""
    top, left = (max(0, (length - most) // 2) for length in picture.shape[:2])
    return picture[top : top + most, left : left + most]


def _flat(picture: np.ndarray) -> np.ndarray:
    """[H, W] where a pixel is within DAMAGE / 2 of its four neighbours in every channel."""
    p = np.pad(_rgb(picture).astype(np.int16), ((1, 1), (1, 1), (0, 0)), mode="edge")
    here = p[1:-1, 1:-1]
    around = (p[:-2, 1:-1], p[2:, 1:-1], p[1:-1, :-2], p[1:-1, 2:])
    return np.logical_and.reduce([(np.abs(here - a) <= DAMAGE // 2).all(-1) for a in around])


def _rgb(picture: np.ndarray) -> np.ndarray:
    if picture.ndim == 2:
        picture = picture[..., None]
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def _packed(rgb: np.ndarray) -> np.ndarray:
    wide = rgb.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _pack(rgb: Sequence[int]) -> int:
    return rgb[0] << 16 | rgb[1] << 8 | rgb[2]


def _unpack(colour: int) -> RGB:
    return colour >> 16, colour >> 8 & 255, colour & 255


def with_file_palette(labels: Labels, file: Source) -> Labels:
    """Plain indices of palette PNGs with the colours that the file gives them (grey ones stay without)."""
    try:
        with images.opened(content(file)) as picture:
            flat = picture.getpalette("RGB") if picture.mode == "P" else None
    except RedraftError:
        flat = None
    if not flat or len(flat) < 3 * labels.classes:
        return labels
    colours = [(flat[i], flat[i + 1], flat[i + 2]) for i in range(0, 3 * labels.classes, 3)]
    return replace(labels, palette=tuple(colours)) if len(set(colours)) > 1 else labels
