"""Where one picture lies, and how its bytes or its pixels are had."""

from __future__ import annotations

import functools
import gzip
import io
import json
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from redraft.core import images
from redraft.core.errors import DataError, UsageError

HALVES = ("left", "right")


@dataclass(frozen=True, slots=True)
class Source:
    """One picture: a file, or a part of one.

    ``part``    ""              the whole file
                "a/b.png"       a member of a zip
                "#left"         the left (or "#right") half; also "a/b.png#left"
                "#17"           row 17 of an idx file or of a sheet of tiles
                "train#17:col"  row 17, column ``col``, of a split of a Hugging Face dataset
    """

    path: str
    part: str = ""

    @property
    def member(self) -> str:
        return self.part if not self._of() else self.part.rsplit("#", 1)[0]

    @property
    def half(self) -> str:
        return self._of() if self._of() in HALVES else ""

    @property
    def row(self) -> int | None:
        number = self._of().partition(":")[0]
        return int(number) if number.isdigit() else None

    @property
    def column(self) -> str:
        return self._of().partition(":")[2]

    def side(self, half: str) -> Source:
        """The "left" or "right" half of this picture."""
        return Source(self.path, f"{self.part}#{half}")

    def _of(self) -> str:
        member, mark, of = self.part.rpartition("#")
        known = of in HALVES or of.partition(":")[0].isdigit()
        return of if mark and known and not of.lower().endswith(EXTENSIONS) else ""

    def __str__(self) -> str:
        return f"{self.path}:{self.part}" if self.part else self.path


EXTENSIONS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".ppm",
    ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".tga",
)  # fmt: skip
LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".jp2")


def read(source: Source, background: images.RGB = images.WHITE, at_least: int | None = None) -> np.ndarray:
    """The picture as [H, W, C] uint8 or uint16, see ``images.read``."""
    stored = _stored(source)
    if stored is not None:
        return _over(stored, background)
    twice = at_least and at_least * 2 if source.half else at_least
    return _half(images.read(content(source), background, twice), source.half)


def read_labels(source: Source) -> np.ndarray:
    """The picture as a label map: [H, W] values or [H, W, 3] colours, see ``images.read_labels``."""
    stored = _stored(source)
    if stored is not None:
        return stored[..., 0] if stored.shape[2] == 1 else stored[..., :3]
    return _half(images.read_labels(content(source)), source.half)


def content(source: Source) -> IO[bytes] | str:
    """What Pillow can open: a path, or the bytes of a member of an archive."""
    if source.column:
        return _named(io.BytesIO(_dataset_bytes(source)), source)
    if source.member:
        try:
            return _named(io.BytesIO(_archive(source.path).read(source.member)), source)
        except DataError:
            raise
        except Exception as broken:  # zlib, checksum and encryption errors have no common base
            raise DataError(f"{source} cannot be read from its archive ({broken}).") from None
    return source.path


def is_stored(source: Source) -> bool:
    """Whether the picture is a row of an array or of a sheet, and so has no file of its own."""
    return source.row is not None and not source.column


def _half(array: np.ndarray, half: str) -> np.ndarray:
    if not half:
        return array
    middle = array.shape[1] // 2
    return array[:, :middle] if half == "left" else array[:, -middle:]


def _stored(source: Source) -> np.ndarray | None:
    if not is_stored(source):
        return None
    rows = _sheet(source.path) if ".sheet." in source.path else idx(source.path)
    if source.row is None or source.row >= len(rows):
        raise DataError(f"{source.path} holds {len(rows)} pictures, so there is no row {source.row}.")
    return rows[source.row]


def _over(array: np.ndarray, background: images.RGB) -> np.ndarray:
    if array.shape[2] != 4:
        return array
    alpha = array[..., 3:].astype(np.float32) / 255
    mixed = array[..., :3] * alpha + np.array(background, np.float32) * (1 - alpha)
    return np.rint(mixed).astype(np.uint8)


@functools.lru_cache(maxsize=4)
def idx(path: str) -> np.ndarray:
    """An idx file of unsigned bytes (MNIST's format, gzipped or not): pictures [M, H, W, 1], labels [M]."""
    try:
        opener: Any = gzip.open if path.endswith(".gz") else open
        with opener(path, "rb") as file:
            raw = file.read()
        zero, kind, dimensions = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{dimensions}I", raw[4 : 4 + 4 * dimensions])
        if zero or kind != 8 or dimensions not in (1, 3, 4):
            raise ValueError("not unsigned bytes of one, three or four dimensions")
        array = np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error) as broken:
        raise DataError(f"{path} cannot be read as an idx file ({broken}).") from None
    return array[..., None] if dimensions == 3 else array


@functools.lru_cache(maxsize=4)
def _sheet(path: str) -> np.ndarray:
    """A lossless sheet of square tiles, row by row, with their size in the .json beside it: [M, S, S, C]."""
    side = json.loads(Path(path.partition(".sheet.")[0] + ".json").read_text("utf-8"))["size"]
    with images.opened(path) as picture:
        sheet = np.asarray(picture)
    rows, columns = sheet.shape[0] // side, sheet.shape[1] // side
    tiles = sheet.reshape(rows, side, columns, side, -1).swapaxes(1, 2)
    return np.ascontiguousarray(tiles).reshape(rows * columns, side, side, -1)


@functools.lru_cache(maxsize=8)
def _archive(path: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as broken:
        raise DataError(f"{path} cannot be read as a zip ({broken}).") from None


def member_size(source: Source) -> int:
    """Bytes of a member of a zip, unpacked."""
    return _archive(source.path).getinfo(source.member).file_size


def members(path: str) -> list[zipfile.ZipInfo]:
    """The files in a zip; only those are listed whose names stay inside it."""
    return [info for info in _archive(path).infolist() if not info.is_dir()]


@functools.lru_cache(maxsize=4)
def saved_dataset(path: str) -> Any:
    """A folder of ``datasets.save_to_disk`` as {split: Dataset}; ``datasets`` is an extra."""
    try:
        import datasets
    except ImportError:
        raise UsageError(
            f"{path} was saved by the Hugging Face package datasets, which is not installed: "
            "pip install 'redraft[data]'."
        ) from None
    try:
        loaded = datasets.load_from_disk(path)
    except Exception as broken:  # pyarrow and datasets raise many kinds
        raise DataError(f"{path} cannot be loaded as a saved dataset ({broken}).") from None
    splits = loaded if isinstance(loaded, dict) else {"": loaded}
    undecoded = datasets.Image(decode=False)
    return {
        name: functools.reduce(
            lambda d, c: d.cast_column(c, undecoded),
            [c for c, f in split.features.items() if isinstance(f, datasets.Image)],
            split,
        )
        for name, split in splits.items()
    }


def _dataset_bytes(source: Source) -> bytes:
    cell = saved_dataset(source.path)[source.member][source.row][source.column]
    return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()


class _Named(io.BytesIO):
    name = ""


def _named(file: io.BytesIO, source: Source) -> IO[bytes]:
    named = _Named(file.getvalue())
    named.name = str(source)
    return named
