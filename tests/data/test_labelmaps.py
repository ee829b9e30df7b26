"""Label maps: told from photos and drawings, and the damage of compression undone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import drawing, label_map, photo, save
from PIL import Image
from tests.conftest import shared_data

from redraft.core import images
from redraft.core.errors import DataError
from redraft.data import build, check, labelmaps, read_label_map, recognise, source
from redraft.data.labelmaps import Sample

PALETTE = ((0, 0, 0), (0, 0, 255), (0, 170, 255), (170, 255, 85), (255, 85, 0))


def coloured(labels: np.ndarray) -> np.ndarray:
    return np.array(PALETTE, np.uint8)[labels]


def damaged(colours: np.ndarray, quality: int) -> np.ndarray:
    out = io.BytesIO()
    Image.fromarray(colours).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(out))


def sample(count: int = 12) -> list[np.ndarray]:
    return [label_map(i, classes=5) for i in range(count)]


def test_exact_colours_are_found_and_indexed() -> None:
    found = labelmaps.find(Sample([coloured(m) for m in sample()]))
    assert found == labelmaps.Labels(tuple(sorted(PALETTE)), 5)
    for m in sample():
        indices, moved = labelmaps.indices(coloured(m), found.palette, found.classes)
        np.testing.assert_array_equal(np.array(found.palette)[indices], coloured(m))
        assert moved == 0


@pytest.mark.parametrize("quality", [95, 75, 60])
def test_damaged_colours_are_snapped_to_the_palette(quality: int) -> None:
    maps = [damaged(coloured(m), quality) for m in sample()]
    found = labelmaps.find(Sample(maps, lossy=True))
    assert found is not None and found.classes == 5 and 0 < found.moved < 1
    distance = np.abs(np.array(found.palette)[:, None] - np.array(PALETTE)).max(-1).min(0)
    assert distance.max() <= labelmaps.DAMAGE
    order = np.abs(np.array(found.palette)[:, None] - np.array(PALETTE)).max(-1).argmin(1)
    right, moved = [], 0
    for m, truth in zip(maps, sample(), strict=True):
        indices, some = labelmaps.indices(m, found.palette, found.classes)
        right.append((order[indices] == truth).mean())
        moved += some
    assert np.mean(right) > 0.98
    assert moved / sum(m[..., 0].size for m in maps) == pytest.approx(found.moved, abs=0.02)


@pytest.mark.parametrize(
    ("values", "palette", "classes"),
    [
        ([0, 1, 2, 3], None, 4),
        ([1, 2, 3, 5], None, 6),
        ([0, 127, 255], ((0, 0, 0), (127, 127, 127), (255, 255, 255)), 3),
        ([0, 1, 2, 255], ((0, 0, 0), (1, 1, 1), (2, 2, 2), (255, 255, 255)), 4),
    ],
)
def test_values_of_grey_maps(values: list[int], palette: tuple | None, classes: int) -> None:
    maps = [np.array(values, np.uint8)[label_map(i, classes=len(values))] for i in range(6)]
    assert labelmaps.find(Sample(maps)) == labelmaps.Labels(palette, classes)
    indices, moved = labelmaps.indices(maps[0], palette, classes)
    assert moved == 0 and indices.max() == classes - 1
    expected = [values[i] if palette is None else i for i in range(len(values))] if palette else values
    np.testing.assert_array_equal(indices, np.array(expected, np.uint8)[label_map(0, classes=len(values))])


def test_photos_and_drawings_are_no_label_maps() -> None:
    assert labelmaps.kind_of(Sample([np.asarray(photo(i, 96, 96)) for i in range(8)])) == "picture"
    assert (
        labelmaps.kind_of(Sample([np.asarray(photo(i, 96, 96).convert("L")) for i in range(8)])) == "picture"
    )
    assert labelmaps.kind_of(Sample([np.asarray(drawing(i, 96, 96)) for i in range(8)])) == "drawing"
    as_jpeg = [damaged(np.asarray(drawing(i, 96, 96).convert("RGB")), 80) for i in range(8)]
    assert labelmaps.kind_of(Sample(as_jpeg, lossy=True)) == "drawing"
    assert labelmaps.kind_of(Sample([coloured(m) for m in sample()])) == "labels"


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("facades_cmp_base/*.jpg", "picture"),
        ("facades_cmp_base/*.png", "labels"),
        ("cuhk_sketch_88/photos/*.png", "picture"),
        ("cuhk_sketch_88/sketches/*.png", "picture"),
        ("edges2shoes_120/train/*.jpg#left", "drawing"),
        ("edges2shoes_120/train/*.jpg#right", "picture"),
        ("openmoji_line2color/color/*.png", "picture"),
        ("openmoji_line2color/line/*.png", "drawing"),
        ("kodak_12/*.png", "picture"),
    ],
)
def test_the_kind_of_real_pictures(folder: str, kind: str) -> None:
    place, _, pattern = folder.partition("/")
    pattern, _, half = pattern.partition("#")
    files = sorted(shared_data(place).glob(pattern))
    part = f"#{half}" if half else ""
    maps = [source.read_labels(source.Source(str(f), part)) for f in files[:: max(1, len(files) // 16)]]
    assert labelmaps.kind_of(Sample(maps, pattern.endswith("jpg"))) == kind


def test_real_label_maps_are_told_after_compression_too() -> None:
    maps = []
    for file in sorted(shared_data("facades_cmp_base").glob("*.png"))[:16]:
        with Image.open(file) as picture:
            maps.append(damaged(np.asarray(picture.convert("RGB")), 75))
    assert labelmaps.kind_of(Sample(maps, lossy=True)) == "labels"


def test_a_mask_is_one_where_its_folder_says_so(tmp_path: Path) -> None:
    for i in range(6):
        save(photo(i, 96, 96), tmp_path / "images" / f"{i}.jpg")
        save(Image.fromarray(np.uint8(255) * (label_map(i, classes=2) > 0)), tmp_path / "masks" / f"{i}.png")
    folder = recognise(tmp_path)
    assert (folder.condition_kind, folder.classes) == ("labels", 2)
    assert set(np.unique(build(folder, "train", size=32).condition)) == {0, 1}


def test_damage_is_stated_and_the_cache_holds_the_snapped_map(tmp_path: Path) -> None:
    for i in range(12):
        save(photo(i, 96, 96), tmp_path / "photos" / f"{i:02d}.png")
        colours = Image.fromarray(coloured(label_map(i, classes=5)))
        save(colours, tmp_path / "labels" / f"{i:02d}.jpg", quality=75)
    folder = recognise(tmp_path)
    assert folder.classes == 5 and "pixels are moved to the palette" in folder.understood
    assert any("move to the nearest colour" in f.sentence for f in check(folder).findings)
    store = build(folder, "train", size=48)
    assert store.condition is not None and store.condition.shape[1:] == (96, 96)
    order = np.abs(np.array(folder.palette)[:, None] - np.array(PALETTE)).max(-1).argmin(1)
    truths = [label_map(int(Path(n).stem), classes=5) for n in store.names]
    assert np.mean(order[store.condition] == np.stack(truths)) > 0.985


def test_values_outside_the_palette_are_found(tmp_path: Path) -> None:
    for i in range(12):
        save(photo(i, 96, 96), tmp_path / "photos" / f"{i:02d}.png")
        save(Image.fromarray(coloured(label_map(i, classes=5))), tmp_path / "labels" / f"{i:02d}.png")
    folder = recognise(tmp_path)
    strange = coloured(label_map(3, classes=5))
    strange[20:50, 20:50] = (255, 0, 255)
    save(Image.fromarray(strange), tmp_path / "labels/03.png")
    assert any("outside the palette" in f.sentence and "03.png" in f.sentence for f in check(folder).findings)


def test_a_users_label_map_is_read_with_the_cache_geometry(tmp_path: Path) -> None:
    labels = label_map(0, 120, 90)
    file = save(Image.fromarray(labels), tmp_path / "a.png")
    read = read_label_map(file, size=90, classes=4, palette=None)
    assert read.dtype == torch.uint8 and read.shape == (1, 90, 90)
    np.testing.assert_array_equal(read[0], labels[:, 15:105])
    with pytest.raises(DataError, match=r"\[3\].*0 to 2"):
        read_label_map(file, size=90, classes=3, palette=None)
    with pytest.raises(DataError, match="not a label map"):
        read_label_map(save(photo(0), tmp_path / "b.png"), size=90, classes=5, palette=PALETTE)


def test_an_indexed_file_of_another_order_gives_the_same_labels(tmp_path: Path) -> None:
    truth = label_map(0, classes=5)
    order = [3, 0, 4, 1, 2]  # colours of the file's indices
    shuffled = Image.fromarray(np.argsort(order).astype(np.uint8)[truth], "P")
    shuffled.putpalette([v for i in order for v in PALETTE[i]])
    same = Image.fromarray(truth, "P")
    same.putpalette([v for colour in PALETTE[:5] for v in colour])
    for name, picture in (("s", shuffled), ("p", same), ("rgb", Image.fromarray(coloured(truth)))):
        file = save(picture, tmp_path / f"{name}.png")
        read = read_label_map(file, size=96, classes=5, palette=PALETTE[:5])
        np.testing.assert_array_equal(read[0], truth)
    file = save(Image.fromarray(coloured(truth)), tmp_path / "m.jpg", quality=90)
    assert (read_label_map(file, size=96, classes=5, palette=PALETTE[:5])[0].numpy() == truth).mean() >= 0.98


def test_the_given_half_of_a_side_by_side_map_is_read(tmp_path: Path) -> None:
    truth = label_map(0)
    file = save(Image.fromarray(np.hstack([label_map(1), truth])), tmp_path / "w.png")
    for path in (file, save(Image.fromarray(truth), tmp_path / "h.png")):
        read = read_label_map(path, size=96, classes=4, palette=None, half="right")
        np.testing.assert_array_equal(read[0], truth)


def test_facades_have_the_published_classes() -> None:
    folder = recognise(shared_data("facades_cmp_base"))
    assert folder.classes == 13 and folder.palette is not None and folder.palette[1] == (0, 0, 170)
    one = folder.examples["train"][0].condition
    assert one is not None and images.read_labels(one.path).min() >= 1
