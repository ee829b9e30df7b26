"""Pictures in and out: files -> arrays -> tensors -> files. Pillow underneath, 16 bit kept throughout.

Arrays are [H, W, C], uint8 or uint16, C = 1 (grey) or 3 (RGB); tensors float32 [C, H, W] in [-1, 1].
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin
from torch import Tensor

from redraft.core.errors import DataError, OutOfSpace, UsageError

File = str | Path | IO[bytes]
RGB = tuple[int, int, int]

WHITE: RGB = (255, 255, 255)
MOST_PIXELS = 178_956_970  # Pillow's own bound against decompression bombs: 4 bytes each = 2/3 GiB
SMALL_LABEL = 64  # label values below it are plain indices; greater ones are marks such as 127 or 255

SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


@contextlib.contextmanager
def opened(file: File) -> Iterator[Image.Image]:
    """A picture with its header read and nothing decoded; every failure, also a later one, is a DataError."""
    name = name_of(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures; the bound below decides
            picture = Image.open(file)
        with picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise DataError(
                    f"{name} claims {width} x {height} pixels, more than the {MOST_PIXELS / 1e6:.0f} "
                    "million that are read: make it smaller or remove it."
                )
            yield picture
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"There is no picture {name}.") from None
    except PermissionError:
        raise DataError(f"{name} may not be read: change its permissions.") from None
    except Image.DecompressionBombError:
        raise DataError(f"{name} claims too many pixels: make it smaller or remove it.") from None
    except Exception as broken:  # decoders of damaged files raise nearly anything (struct, zlib, Index...)
        raise DataError(f"{name} cannot be read as a picture ({_why(broken)}).") from None


def read(file: File, background: RGB = WHITE, at_least: int | None = None) -> np.ndarray:
    """A picture as [H, W, C], C in {1, 3}, uint8, or uint16 where the file has 16 bits a channel.

    EXIF rotation is applied; transparent parts show ``background``; palettes become RGB. With
    ``at_least`` (px) a large JPEG may be decoded at a fraction of its size, its short side still
    no less than that. Raises DataError when the file is unreadable or claims too many pixels.
    """
    with opened(file) as picture:
        if at_least and picture.format == "JPEG":
            picture.draft(None, (at_least, at_least))
        if is_16_bit(picture):
            return _read_16(picture, background)
        return _read_8(ImageOps.exif_transpose(picture), background)


def read_labels(file: File) -> np.ndarray:
    """A label map: [H, W] uint8 values of a grey or indexed file, or [H, W, 3] uint8 colours.

    An indexed file with values of 64 and more (a void class of 255, say) is read as its colours.
    """
    with opened(file) as picture:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode in ("P", "L"):
            values = np.asarray(picture, dtype=np.uint8)
            if picture.mode == "L" or values.max(initial=0) < SMALL_LABEL:
                return values
        if picture.mode == "1":
            return np.asarray(picture, dtype=np.uint8)
        if picture.mode == "I" or picture.mode in SIXTEEN_BIT:
            wide = np.asarray(picture)
            if wide.min() < 0 or wide.max() > 255:
                raise DataError(
                    f"{name_of(file)} has label values up to {wide.max()}; at most 256 labels, 0 to 255, "
                    "are understood."
                )
            return wide.astype(np.uint8)
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def read_palette(file: File) -> tuple[RGB, ...] | None:
    """The colours of an indexed file in the order of its indices; None for other files."""
    with opened(file) as picture:
        flat = picture.getpalette("RGB") if picture.mode == "P" else None
    return tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True)) if flat else None


def name_of(file: File) -> str:
    """What to call a file in a sentence."""
    return str(file) if isinstance(file, (str, Path)) else str(getattr(file, "name", "a picture"))


def read_opaque(file: File) -> np.ndarray:
    """[H, W] bool: where a picture is fully opaque, EXIF rotation applied."""
    with opened(file) as picture:
        if not picture.has_transparency_data:
            array = np.ones(picture.size[::-1], bool)
        else:
            array = np.asarray(picture.convert("RGBA"))[..., 3] == 255
        return _oriented(array, picture.getexif().get(0x0112, 1))


def is_16_bit(picture: Image.Image) -> bool:
    """Whether a picture that has just been opened holds more than 8 bits a channel."""
    bits = getattr(picture, "tag_v2", {}).get(258, 8)  # TIFF: bits per sample
    deep = max(bits) if isinstance(bits, tuple) else bits
    return picture.mode in ("I", "F", *SIXTEEN_BIT) or ";16" in _rawmode(picture) or deep > 8


def to_tensor(array: np.ndarray) -> Tensor:
    """[H, W, C] (or [H, W]) uint8 or uint16 -> float32 [C, H, W] in [-1, 1]."""
    top = np.iinfo(array.dtype).max
    if array.ndim == 2:
        array = array[..., None]
    scaled = np.ascontiguousarray(array.transpose(2, 0, 1), dtype=np.float32)
    return torch.from_numpy(scaled / np.float32(top / 2) - np.float32(1))


def to_array(tensor: Tensor, bits: int = 8) -> np.ndarray:
    """float [C, H, W], clamped to [-1, 1] -> [H, W, C] uint8 (``bits=8``) or uint16 (``bits=16``)."""
    if bits not in (8, 16):
        raise UsageError(f"Pictures have 8 or 16 bits, not {bits}.")
    dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
    values = tensor.detach().to("cpu", torch.float64).clamp(-1, 1).permute(1, 2, 0).numpy()
    return np.rint((values + 1) * ((2**bits - 1) / 2)).astype(dtype)


def write(picture: Tensor, path: str | Path, info: dict[str, str] | None = None, bits: int = 8) -> None:
    """Write float [C, H, W] in [-1, 1] as a PNG with ``info`` in its text chunks; whole or not at all."""
    array, info = to_array(picture, bits), info or {}
    save(Path(path), _png_16(array, info) if bits == 16 else _png_8(array, info))


def read_info(path: str | Path) -> dict[str, str]:
    """The text chunks of a PNG ({} where there are none)."""
    with opened(path) as picture:
        picture.load()  # text may follow the pixels
        return {k: str(v) for k, v in getattr(picture, "text", {}).items()}


def save(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old one or the whole new one; a full disk is OutOfSpace."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with saving(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turns a full disk into OutOfSpace, and a folder that may not be written into a sentence."""
    try:
        yield
    except OSError as failed:
        if failed.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(f"The disk is full: {path} was not written; free some space.") from None
        if failed.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UsageError(f"{path} may not be written: choose another folder.") from None
        raise


def grid(rows: list[Tensor], scale: int = 1, gap: int = 2) -> Tensor:
    """Pictures side by side: one row for each [N, C, H, W] -> [3, H', W'], white between, ``scale``-fold."""
    height = max(row.shape[2] for row in rows)
    width = max(row.shape[3] for row in rows)
    across = max(len(row) for row in rows)
    sheet = torch.ones(3, len(rows) * (height + gap) + gap, across * (width + gap) + gap)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row.detach().to("cpu", torch.float32)):
            y, x = gap + i * (height + gap), gap + j * (width + gap)
            sheet[:, y : y + picture.shape[1], x : x + picture.shape[2]] = picture.expand(3, -1, -1)
    return sheet.repeat_interleave(scale, 1).repeat_interleave(scale, 2)


def resize(array: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]) -> np.ndarray:
    """The part ``box`` = (left, top, right, bottom, px) of [H, W, C] as [height, width, C], size = (w, h).

    Lanczos with antialiasing (the filter grows with the reduction), in the array's own depth.
    """
    if array.dtype == np.uint8:
        picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
        small = np.asarray(picture.resize(size, Image.Resampling.LANCZOS, box=box))
        return small[..., None] if small.ndim == 2 else small
    top = np.iinfo(array.dtype).max
    planes = [
        Image.fromarray(array[..., c].astype(np.float32)).resize(size, Image.Resampling.LANCZOS, box=box)
        for c in range(array.shape[2])
    ]
    return np.rint(np.stack([np.asarray(p) for p in planes], -1)).clip(0, top).astype(array.dtype)


def to_channels(array: np.ndarray, channels: int) -> np.ndarray:
    """[H, W, 1 | 3] -> [H, W, channels]; colour to grey by ITU-R BT.601 luma, as Pillow does."""
    if array.shape[2] == channels:
        return array
    if channels == 3:
        return array.repeat(3, axis=2)
    luma = array.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(luma).astype(array.dtype)[..., None]


def _read_8(picture: Image.Image, background: RGB) -> np.ndarray:
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"), dtype=np.uint8)[..., None]
    if picture.has_transparency_data:
        grey = picture.mode in ("LA", "La") and len(set(background)) == 1
        over = Image.new("RGBA", picture.size, background)
        over.alpha_composite(picture.convert("RGBA"))
        picture = over.convert("RGB")
        array = np.asarray(picture, dtype=np.uint8)
        return array[..., :1].copy() if grey else array
    return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def _read_16(picture: Image.Image, background: RGB) -> np.ndarray:
    raw = _rawmode(picture)
    tags = getattr(picture, "tag_v2", {})
    if tags.get(284) == 2 and picture.mode != "F" and len(picture.getbands()) > 1:
        raise DataError("its colours lie in separate planes of 16 bits; save it interleaved")
    if picture.mode == "F":
        array = _from_float(np.asarray(picture))
    elif picture.mode == "I" or picture.mode in SIXTEEN_BIT:
        wide = np.asarray(picture)
        if wide.min() < 0 or wide.max() > 65535:
            raise DataError("its values do not fit into 16 bits")
        array = wide.astype(np.uint16)[..., None]
    else:
        array, picture = _two_bytes(picture, raw)
        if array.shape[2] in (2, 4):
            alpha = array[..., -1:].astype(np.float64) / 65535
            behind = np.array(background, np.float64) * 257
            array = np.rint(array[..., :-1] * alpha + behind * (1 - alpha)).astype(np.uint16)
    return _oriented(array, picture.getexif().get(0x0112, 1))  # asked last: it may close the file


def _two_bytes(picture: Image.Image, raw: str) -> tuple[np.ndarray, Image.Image]:
    """Colour of 16 bits: Pillow keeps one byte of each two, so decode twice, once for either byte.

    Also returns the picture as last decoded: Pillow has turned a TIFF by then, and says so in its EXIF.
    """
    start: Any = getattr(picture, "filename", "") or getattr(picture, "fp", None)
    planes = []
    for order in "BL":  # B keeps the first byte of each value, L the second
        if not isinstance(start, str):
            start.seek(0)
        with Image.open(start) as half:
            half.tile = [_with_rawmode(tile, raw[: raw.index(";16")] + ";16" + order) for tile in half.tile]
            planes.append(np.array(half, dtype=np.uint16))
    first, second = planes
    little = raw.endswith("L") or (raw.endswith("N") and np.little_endian)
    return (second << 8) | first if little else (first << 8) | second, half


def _rawmode(picture: Image.Image) -> str:
    for tile in getattr(picture, "tile", []):
        args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if args and isinstance(args[0], str):
            return args[0]
    return ""


def _with_rawmode(tile: Any, raw: str) -> Any:
    args = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
    return tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args)


def _from_float(array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise DataError("its floating-point values do not lie in 0 to 1")
    return np.rint(array * 65535).astype(np.uint16)[..., None]


def _oriented(array: np.ndarray, orientation: int) -> np.ndarray:
    """EXIF orientations 1 to 8 on an array."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def _png_8(array: np.ndarray, info: dict[str, str]) -> bytes:
    text = PngImagePlugin.PngInfo()
    for key, value in info.items():
        text.add_itxt(key, value)
    out = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(out, "PNG", pnginfo=text)
    return out.getvalue()


def _png_16(array: np.ndarray, info: dict[str, str]) -> bytes:
    """PNG of 16 bits (Pillow writes none in colour): each line as the difference to the one above."""
    height, width, channels = array.shape
    lines = np.ascontiguousarray(array, ">u2").view(np.uint8).reshape(height, -1)
    above = np.vstack([np.zeros_like(lines[:1]), lines[:-1]])
    filtered = np.hstack([np.full((height, 1), 2, np.uint8), lines - above])
    header = struct.pack(">IIBBBBB", width, height, 16, 0 if channels == 1 else 2, 0, 0, 0)
    texts = [(b"iTXt", key.encode("latin-1") + bytes(5) + value.encode()) for key, value in info.items()]
    chunks = [(b"IHDR", header), *texts, (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _why(broken: Exception) -> str:
    text = str(broken).strip().rstrip(".")
    if "cannot identify" in text:
        return "no known picture format"
    return text or type(broken).__name__
