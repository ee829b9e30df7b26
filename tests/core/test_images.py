"""Pictures in and out: what is read is what was written, at 8 and at 16 bits, in every form files take."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from redraft.core import images
from redraft.core.errors import DataError, OutOfSpace, UsageError


def noise(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_what_is_written_is_read_back_exactly(tmp_path: Path, channels: int, bits: int, dtype: type) -> None:
    array = noise(13, 17, channels, dtype=dtype)
    info = {"seed": "7", "caption": "grüße ✓"}
    images.write(images.to_tensor(array), tmp_path / "a.png", info, bits=bits)
    back = images.read(tmp_path / "a.png")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, array)
    assert images.read_info(tmp_path / "a.png") == info


def test_range_is_minus_one_to_one_and_clamped() -> None:
    x = images.to_tensor(np.array([[[0], [255]]], np.uint8))
    assert x.tolist() == [[[-1.0, 1.0]]]
    assert images.to_array(torch.tensor([[[-9.0, 9.0, 0.0]]])).ravel().tolist() == [0, 255, 128]
    with pytest.raises(UsageError, match="8 or 16"):
        images.to_array(x, bits=12)


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_16_bit_colour_tiff_keeps_both_bytes(tmp_path: Path, options: dict) -> None:
    tifffile = pytest.importorskip("tifffile")
    array = noise(37, 53, 3, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", **options)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), array)


def test_16_bit_from_memory_and_as_grey_tiff(tmp_path: Path) -> None:
    array = noise(9, 7, 3, dtype=np.uint16)
    images.write(images.to_tensor(array), tmp_path / "a.png", bits=16)
    np.testing.assert_array_equal(images.read(io.BytesIO((tmp_path / "a.png").read_bytes())), array)
    Image.fromarray(array[..., 0]).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), array[..., :1])


def test_separate_planes_of_16_bits_are_refused_not_garbled(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    array = noise(3, 9, 7, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", planarconfig="separate")
    with pytest.raises(DataError, match="planes"):
        images.read(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    picture = Image.fromarray(noise(10, 16, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    np.testing.assert_array_equal(images.read(tmp_path / "a.png"), upright)
    assert images.read_opaque(tmp_path / "a.png").shape == upright.shape[:2]


def test_16_bit_pictures_are_turned_too(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    array = noise(10, 16, 3, dtype=np.uint16)
    extra = [(274, "H", 1, 6, False)]  # orientation 6: turn a quarter clockwise
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extratags=extra)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), np.rot90(array, -1))


def test_transparency_shows_the_stated_background(tmp_path: Path) -> None:
    array = np.zeros((2, 2, 4), np.uint8)
    array[0, 0] = (10, 20, 30, 255)
    array[1, 1] = (255, 0, 0, 128)
    Image.fromarray(array).save(tmp_path / "a.png")
    on_white = images.read(tmp_path / "a.png")
    on_black = images.read(tmp_path / "a.png", background=(0, 0, 0))
    assert on_white[0, 0].tolist() == on_black[0, 0].tolist() == [10, 20, 30]
    assert on_white[0, 1].tolist() == [255, 255, 255] and on_black[0, 1].tolist() == [0, 0, 0]
    assert abs(int(on_white[1, 1, 1]) - 127) <= 1 and on_black[1, 1].tolist()[0] == 128
    assert images.read_opaque(tmp_path / "a.png").tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("CMYK", 3), ("RGBA", 3)]
)
def test_every_mode_becomes_grey_or_colour(tmp_path: Path, mode: str, channels: int) -> None:
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(noise(5, 6, 3)).convert(mode).save(file)
    assert images.read(file).shape == (5, 6, channels)


def test_label_maps_keep_indices_and_colours(tmp_path: Path) -> None:
    indices = noise(6, 5) % 3
    indexed = Image.fromarray(indices)
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    indexed.save(tmp_path / "p.png")
    Image.fromarray(indices).save(tmp_path / "l.png")
    indexed.convert("RGB").save(tmp_path / "c.png")
    np.testing.assert_array_equal(images.read_labels(tmp_path / "p.png"), indices)
    np.testing.assert_array_equal(images.read_labels(tmp_path / "l.png"), indices)
    assert images.read_labels(tmp_path / "c.png").shape == (6, 5, 3)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_picture_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match="a.png cannot be read"):
        images.read(tmp_path / "a.png")


def test_cut_files_bombs_and_missing_files_are_sentences(tmp_path: Path) -> None:
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut.png"):
        images.read(tmp_path / "cut.png")
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + whole[24:29]
    (tmp_path / "bomb.png").write_bytes(
        whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:]
    )
    with pytest.raises(DataError, match="pixels"):
        images.read(tmp_path / "bomb.png")
    with pytest.raises(DataError, match="There is no picture"):
        images.read(tmp_path / "nowhere.png")


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutOfSpace, match="disk is full"):
        images.write(torch.zeros(1, 4, 4), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_resizing_at_16_bits_agrees_with_8_bits() -> None:
    array = noise(40, 60, 3)
    box = (5.0, 2.0, 50.0, 38.0)
    small = images.resize(array, (12, 9), box).astype(np.float64)
    deep = images.resize(array.astype(np.uint16) * 257, (12, 9), box) / 257
    assert small.shape == (9, 12, 3)
    np.testing.assert_allclose(small, deep, atol=1.01)


def test_the_grid_puts_rows_below_one_another() -> None:
    black, white = -torch.ones(3, 1, 4, 5), torch.ones(2, 3, 4, 5)
    sheet = images.grid([black, white], scale=2, gap=1)
    assert sheet.shape == (3, 2 * (2 * 5 + 1), 2 * (3 * 6 + 1))
    assert int((sheet[0] == -1).sum()) == 3 * 4 * 5 * 4


def test_luma_is_pillows() -> None:
    array = noise(8, 9, 3)
    ours = images.to_channels(array, 1)[..., 0].astype(int)
    theirs = np.asarray(Image.fromarray(array).convert("L")).astype(int)
    assert np.abs(ours - theirs).max() <= 1
    assert images.to_channels(array[..., :1], 3).shape == (8, 9, 3)
