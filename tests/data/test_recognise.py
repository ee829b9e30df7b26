"""Every common layout is understood without flags; what is not clear is asked, not guessed."""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from folders import drawing, label_map, photo, photos, save
from PIL import Image
from tests.conftest import shared_data

from redraft.core.errors import Ambiguous, DataError, UsageError
from redraft.data import Example, Folder, check, recognise, source


def numbers(count: int, start: int = 0) -> list[str]:
    return [f"{i:03d}.png" for i in range(start, start + count)]


def pairs(folder: Folder, split: str = "train") -> set[tuple[str, str]]:
    return {(Path(str(e.condition)).parts[-2], Path(str(e.target)).parts[-2]) for e in folder.examples[split]}


def counts(folder: Folder) -> tuple[int, int]:
    return len(folder.examples["train"]), len(folder.examples["test"])


@pytest.mark.parametrize(
    "form", ["{split}{side}", "{split}_{side}", "{split}/{side}", "{side}/{split}", "{side}_{split}"]
)
@pytest.mark.parametrize("sides", [("A", "B"), ("sketches", "photos")])
@pytest.mark.parametrize("test", ["test", "val"])
def test_two_sides_with_splits_in_all_spellings(
    tmp_path: Path, form: str, sides: tuple[str, str], test: str
) -> None:
    if form == "{split}{side}" and sides[0] != "A":
        form = "{split}-{side}"
    for split, names in (("train", numbers(3)), (test, numbers(2, 3))):
        for side in sides:
            photos(tmp_path / "d" / form.format(split=split, side=side), *names)
    folder = recognise(tmp_path / "d")
    assert counts(folder) == (3, 2) and not folder.made_split
    assert folder.condition_kind == "picture"
    for example in (*folder.examples["train"], *folder.examples["test"]):
        assert example.condition and sides[0] in example.condition.path and sides[1] in example.target.path
        assert Path(example.condition.path).stem == Path(example.target.path).stem


def test_one_side_alone_is_pictures_alone(tmp_path: Path) -> None:
    photos(tmp_path / "d/trainA", *numbers(4))
    folder = recognise(tmp_path / "d")
    assert folder.layout == "flat" and folder.condition_kind == "none" and folder.made_split


def of_side(folder: Folder, side: dict[str, tuple[Example, ...]]) -> dict[str, set[str]]:
    """Names of the folders that each split's pictures lie in."""
    return {s: {Path(str(e.target)).relative_to(folder.root).parts[0] for e in g} for s, g in side.items()}


@pytest.mark.parametrize(
    ("direction", "given", "wanted"), [(None, "A", "B"), ("AtoB", "A", "B"), ("B:A", "B", "A")]
)
def test_sides_without_equal_stems_are_given_and_wanted_each_alone(
    tmp_path: Path, direction: str | None, given: str, wanted: str
) -> None:
    for split, few in (("train", 3), ("test", 2)):
        photos(tmp_path / f"d/{split}A", *numbers(few))
        photos(tmp_path / f"d/{split}B", *numbers(few + 2, 10))
    folder = recognise(tmp_path / "d", direction=direction)
    assert folder.unpaired and folder.condition_kind == "picture" and not folder.made_split
    assert of_side(folder, folder.given) == {"train": {f"train{given}"}, "test": {f"test{given}"}}
    assert of_side(folder, folder.examples) == {"train": {f"train{wanted}"}, "test": {f"test{wanted}"}}
    assert sorted(len(side["train"]) for side in (folder.given, folder.examples)) == [3, 5]
    assert f"{given} given and {wanted} wanted" in folder.understood
    assert not any(e.condition for e in folder.every("train"))


def test_any_two_folders_are_sides_when_told(tmp_path: Path) -> None:
    photos(tmp_path / "d/monet", *numbers(14))
    photos(tmp_path / "d/paris", *numbers(30, 100))
    assert recognise(tmp_path / "d").categories == ("monet", "paris")
    folder = recognise(tmp_path / "d", direction="paris:monet")
    assert folder.unpaired and not folder.categories and folder.made_split
    assert of_side(folder, folder.given) == {"train": {"paris"}, "test": {"paris"}}
    assert {s: len(g) for s, g in folder.given.items()} == {"train": 27, "test": 3}
    assert {s: len(g) for s, g in folder.examples.items()} == {"train": 12, "test": 2}
    assert recognise(tmp_path / "d", direction="classes").categories == ("monet", "paris")
    with pytest.raises(UsageError, match="paris:monet"):
        recognise(tmp_path / "d", direction="paris:rome")


def test_a_split_that_one_side_lacks_is_made_for_that_side(tmp_path: Path) -> None:
    photos(tmp_path / "d/trainA", *numbers(20))
    photos(tmp_path / "d/trainB", *numbers(5, 50))
    photos(tmp_path / "d/testB", *numbers(3, 90))
    folder = recognise(tmp_path / "d")
    assert {s: len(g) for s, g in folder.given.items()} == {"train": 18, "test": 2}
    assert {s: len(g) for s, g in folder.examples.items()} == {"train": 5, "test": 3} and folder.made_split


def test_words_of_the_side_in_stems_are_ignored(tmp_path: Path) -> None:
    photos(tmp_path / "d/photos", "1_photo.png", "2_photo.png")
    photos(tmp_path / "d/sketches", "1_sketch.png", "2_sketch.png")
    assert pairs(recognise(tmp_path / "d")) == {("sketches", "photos")}


def test_names_that_say_nothing_are_asked_about_and_answers_taken(tmp_path: Path) -> None:
    for side in ("noto", "twemoji"):
        photos(tmp_path / "d" / side, *numbers(4))
    with pytest.raises(Ambiguous) as asked:
        recognise(tmp_path / "d")
    assert asked.value.candidates == (
        "--direction noto:twemoji", "--direction twemoji:noto", "--direction classes",
    )  # fmt: skip
    for candidate in asked.value.candidates[:2]:
        direction = candidate.split()[1]
        assert pairs(recognise(tmp_path / "d", direction=direction)) == {tuple(direction.split(":"))}
    assert recognise(tmp_path / "d", direction="classes").categories == ("noto", "twemoji")
    with pytest.raises(UsageError, match="noto:twemoji"):
        recognise(tmp_path / "d", direction="noto:toto")


@pytest.mark.parametrize(("direction", "given"), [("AtoB", "A"), ("BtoA", "B"), ("B:A", "B"), (None, "A")])
def test_a_to_b_and_b_to_a(tmp_path: Path, direction: str | None, given: str) -> None:
    for side in "AB":
        photos(tmp_path / "d" / side, *numbers(4))
    assert {g for g, _ in pairs(recognise(tmp_path / "d", direction=direction))} == {given}


@pytest.mark.parametrize("drawn", ["left", "right"])
def test_side_by_side_by_content(tmp_path: Path, drawn: str) -> None:
    for i in range(12):
        both = Image.new("RGB", (96, 48))
        both.paste(drawing(i, 48, 48).convert("RGB"), (0 if drawn == "left" else 48, 0))
        both.paste(photo(i, 48, 48), (48 if drawn == "left" else 0, 0))
        save(both, tmp_path / "d" / f"{i}.png")
    folder = recognise(tmp_path / "d")
    first = folder.examples["train"][0]
    assert folder.layout == "side by side" and first.condition and first.condition.half == drawn
    assert first.target.half != drawn and folder.condition_kind == "picture"
    assert source.read(first.target).shape[:2] == (48, 48)


def test_side_by_side_of_two_photos_is_asked(tmp_path: Path) -> None:
    photos(tmp_path / "d", *numbers(4), size=(64, 32))
    with pytest.raises(Ambiguous, match="left:right.*right:left"):
        recognise(tmp_path / "d")
    folder = recognise(tmp_path / "d", direction="BtoA")
    assert folder.examples["train"][0].target.half == "left"


def test_one_stem_two_extensions(tmp_path: Path) -> None:
    for i in range(4):
        save(photo(i, 96, 96), tmp_path / "d" / f"{i}.jpg")
        save(Image.fromarray(label_map(i)), tmp_path / "d" / f"{i}.png")
    folder = recognise(tmp_path / "d")
    assert folder.condition_kind == "labels" and folder.classes == 4
    assert all(e.target.path.endswith(".jpg") for e in folder.examples["train"])


def test_suffixes_of_one_folder(tmp_path: Path) -> None:
    photos(tmp_path / "d", *(f"{i}_{side}.png" for i in range(4) for side in "AB"))
    folder = recognise(tmp_path / "d")
    assert sum(counts(folder)) == 4 and folder.condition_kind == "picture"


@pytest.mark.parametrize("above", ["", "train", "deep/down"])
def test_class_folders(tmp_path: Path, above: str) -> None:
    for category in ("10", "9", "2"):
        photos(tmp_path / "d" / above / category, *numbers(4))
    folder = recognise(tmp_path / "d")
    assert folder.categories == ("2", "9", "10") and folder.condition_kind == "none"
    for example in folder.examples["train"]:
        assert folder.categories[example.category or 0] == Path(example.target.path).parent.name


def test_class_folders_with_splits_and_more_below(tmp_path: Path) -> None:
    for split, names in (("train", numbers(3)), ("test", numbers(2))):
        for category in ("cat", "dog", "train"):  # a class may be called train
            photos(tmp_path / "d" / split / category / "images", *names)
    folder = recognise(tmp_path / "d")
    assert counts(folder) == (9, 6) and folder.categories == ("cat", "dog", "train")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_image_folder_with_metadata(tmp_path: Path, kind: str) -> None:
    rows = [{"file_name": f"{i:03d}.png", "text": f"a thing, {i}", "label": "ab"[i % 2]} for i in range(6)]
    for split in ("train", "test"):
        photos(tmp_path / "d" / split, *numbers(6))
        if kind == "csv":
            lines = ["file_name,text,label", *(f'{r["file_name"]},"{r["text"]}",{r["label"]}' for r in rows)]
        else:
            lines = [json.dumps(r) for r in rows]
        (tmp_path / "d" / split / f"metadata.{kind}").write_text("\n".join(lines))
    folder = recognise(tmp_path / "d")
    assert counts(folder) == (6, 6) and folder.categories == ("a", "b") and folder.has_captions
    assert folder.examples["train"][3].caption == "a thing, 3" and folder.examples["train"][3].category == 1


def test_metadata_may_name_conditions_and_missing_files_are_noted(tmp_path: Path) -> None:
    photos(tmp_path / "d", *numbers(4))
    for i in range(4):
        save(drawing(i), tmp_path / "d/lines" / f"{i:03d}.png")
    rows = [{"file_name": f"{i:03d}.png", "condition": f"lines/{i:03d}.png"} for i in range(5)]
    (tmp_path / "d/metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = recognise(tmp_path / "d")
    assert sum(counts(folder)) == 4 and folder.condition_kind == "picture"
    assert any("004.png" in note for note in folder.notes)


def test_captions_beside_pictures_and_lists_above(tmp_path: Path) -> None:
    photos(tmp_path / "d", *numbers(4))
    for name in numbers(4):
        (tmp_path / "d" / name).with_suffix(".txt").write_text(f"this is {name}\n")
    assert recognise(tmp_path / "d").examples["train"][0].caption in {f"this is {n}" for n in numbers(4)}
    photos(tmp_path / "e/inner", *numbers(4))
    rows = [{"file": n, "name": f"thing {n}", "group": "g" + n[2]} for n in numbers(4)]
    (tmp_path / "e/names.json").write_text(json.dumps(rows))
    for root in (tmp_path / "e", tmp_path / "e/inner"):
        folder = recognise(root)
        assert folder.categories == ("g0", "g1", "g2", "g3") and folder.has_captions


def test_a_readme_is_no_caption(tmp_path: Path) -> None:
    photos(tmp_path / "d", *numbers(4))
    (tmp_path / "d/readme.txt").write_text("hello")
    assert not recognise(tmp_path / "d").has_captions


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(tmp_path: Path, packed: bool) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (20, 6, 5), dtype=np.uint8)
    labels = (np.arange(20) % 3).astype(np.uint8)
    opener, end = (gzip.open, ".gz") if packed else (open, "")
    for part, array in (("images-idx3", pictures), ("labels-idx1", labels)):
        with opener(tmp_path / f"t10k-{part}-ubyte{end}", "wb") as file:
            file.write(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())
    folder = recognise(tmp_path)
    assert counts(folder) == (18, 2) and folder.made_split and folder.channels == 1
    for e in folder.examples["train"]:
        row = e.target.row
        assert row is not None and e.category == labels[row]
        np.testing.assert_array_equal(source.read(e.target)[..., 0], pictures[row])


def test_a_zip_is_read_without_unpacking(tmp_path: Path) -> None:
    photos(tmp_path / "d/train/cat", *numbers(3))
    photos(tmp_path / "d/train/dog", *numbers(3, 3))
    (tmp_path / "z").mkdir()
    with zipfile.ZipFile(tmp_path / "z/all.zip", "w") as archive:
        for file in (tmp_path / "d").rglob("*.png"):
            archive.write(file, file.relative_to(tmp_path / "d"))
        archive.writestr("__MACOSX/._000.png", b"junk")
    for place in (tmp_path / "z", tmp_path / "z/all.zip"):
        folder = recognise(place)
        assert folder.categories == ("cat", "dog") and sum(counts(folder)) == 6
        assert source.read(folder.examples["train"][0].target).shape == (24, 24, 3)
    assert sorted(p.name for p in (tmp_path / "z").iterdir()) == ["all.zip"]


def test_saved_hugging_face_datasets_need_the_extra_or_are_read(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/dataset_info.json").write_text("{}")
    try:
        import datasets
    except ImportError:
        with pytest.raises(UsageError, match="pip install"):
            recognise(tmp_path / "d")
        return
    features = datasets.Features(
        {
            "sketch": datasets.Image(),
            "photo": datasets.Image(),
            "label": datasets.ClassLabel(names=["x", "y"]),
        }
    )
    rows = {
        "sketch": [drawing(i) for i in range(6)],
        "photo": [photo(i) for i in range(6)],
        "label": [0, 1] * 3,
    }
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)}).save_to_disk(
        tmp_path / "h"
    )
    folder = recognise(tmp_path / "h")
    assert folder.categories == ("x", "y") and folder.condition_kind == "picture"
    example = folder.examples["train"][0]
    np.testing.assert_array_equal(source.read(example.target), np.asarray(photo(example.target.row or 0)))
    assert not check(folder).fatal


def test_hidden_files_loops_and_system_files_are_passed_by(tmp_path: Path) -> None:
    photos(tmp_path / "d", *numbers(3), ".hidden.png", "__MACOSX/x.png", ".git/y.png")
    (tmp_path / "d/Thumbs.db").write_bytes(b"")
    (tmp_path / "d/loop").symlink_to(tmp_path / "d", target_is_directory=True)
    (tmp_path / "d/self.png").symlink_to(tmp_path / "d/self.png")
    (tmp_path / "d/gone.png").symlink_to(tmp_path / "nowhere.png")
    folder = recognise(tmp_path / "d")
    assert sum(counts(folder)) == 3 and len(folder.notes) == 3


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "is empty"),
        (("notes.md",), "only 1 other"),
        (("a.mp4", "b.avi"), "clips"),
        (("x.parquet",), "save_to_disk"),
    ],
)
def test_nothing_to_learn_from_is_a_sentence(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=words):
        recognise(tmp_path)


def test_moving_gifs_are_clips(tmp_path: Path) -> None:
    frames = [photo(i) for i in range(3)]
    for name in ("a.gif", "b.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="clips"):
        recognise(tmp_path)


def test_no_folder_and_a_file_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        recognise(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is a file"):
        recognise(save(photo(0), tmp_path / "a.png"))


def test_made_splits_are_for_ever_and_even(tmp_path: Path, cache_home: Path) -> None:
    for i, category in enumerate("abcde"):
        photos(tmp_path / "d" / category, *numbers(8), size=(24 + i, 24))  # no copies
    first = recognise(tmp_path / "d", seed=3)
    assert counts(first) == (36, 4) and len({e.category for e in first.examples["test"]}) == 4
    (tmp_path / "d").rename(tmp_path / "moved")
    again = recognise(tmp_path / "moved", seed=3)
    assert [e.name for e in again.examples["test"]] == [e.name for e in first.examples["test"]]
    assert [e.name for e in recognise(tmp_path / "moved", seed=4).examples["test"]] != [
        e.name for e in first.examples["test"]
    ]
    stored = next((cache_home / "splits").glob("*-3.json"))
    assert set(json.loads(stored.read_text())) == {e.name for e in first.examples["test"]}


def test_depth_and_colour_of_targets(tmp_path: Path) -> None:
    for i in range(3):
        save(photo(i).convert("L").convert("RGB"), tmp_path / "grey" / f"{i}.png")
        deep = np.random.default_rng(i).integers(0, 65536, (9, 9)).astype(np.uint16)
        save(Image.fromarray(deep), tmp_path / "deep" / f"{i}.png")
    assert (recognise(tmp_path / "grey").channels, recognise(tmp_path / "grey").bits) == (1, 8)
    assert (recognise(tmp_path / "deep").channels, recognise(tmp_path / "deep").bits) == (1, 16)


@pytest.mark.parametrize(
    ("name", "layout", "kind", "total"),
    [
        ("cuhk_sketch_88", "two folders", "picture", 88),
        ("edges2shoes_120", "side by side", "picture", 120),
        ("facades_cmp_base", "same stems", "labels", 378),
        ("openmoji_line2color", "two folders", "picture", 2186),
        ("kodak_12", "flat", "none", 12),
        ("fashion_mnist", "idx", "none", 10_000),
        ("cifar10_jpeg_subset", "class folders", "none", 12_000),
        ("horse2zebra_subset", "unpaired sides", "picture", 160),
    ],
)
def test_real_folders(name: str, layout: str, kind: str, total: int) -> None:
    folder = recognise(shared_data(name))
    assert (folder.layout, folder.condition_kind, sum(counts(folder))) == (layout, kind, total)


def test_copies_of_a_held_out_picture_are_held_out_with_it(tmp_path: Path) -> None:
    """Forty pictures, each twice: whichever the draw takes, its copy is not trained on."""
    from redraft.data.copies import copies

    for i in range(40):
        picture = np.full((8, 8, 3), 6 * i, np.uint8)
        for name in (f"a{i}.png", f"b{i}.png"):
            Image.fromarray(picture).save(tmp_path / name)
    folder = recognise(tmp_path)
    shared, _ = copies(folder)
    assert shared == [] and 8 <= len(folder.examples["test"]) <= 16


def test_a_folder_of_one_picture_many_times_still_has_both_splits(tmp_path: Path) -> None:
    for i in range(12):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"{i}.png")
    folder = recognise(tmp_path)
    assert len(folder.examples["train"]) == 10 and len(folder.examples["test"]) == 2
