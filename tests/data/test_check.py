"""What is wrong with a folder is found before training, from headers and hashes."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from folders import drawing, label_map, photo, photos, save
from PIL import Image

from redraft.data import Report, check, recognise


def names(count: int, start: int = 0) -> list[str]:
    return [f"{i:03d}.png" for i in range(start, start + count)]


def said(report: Report, words: str, severity: str | None = None) -> bool:
    return any(words in f.sentence and severity in (None, f.severity) for f in report.findings)


def test_a_sound_folder_suits_and_says_for_what(tmp_path: Path) -> None:
    photos(tmp_path / "train", *names(120))
    photos(tmp_path / "test", *names(12, 200))
    for i, n in enumerate(names(12, 200)):
        save(photo(1000 + i), tmp_path / "test" / n)
    report = check(recognise(tmp_path))
    assert not report.fatal and report.findings == ()
    assert report.counts == {"train": 120, "test": 12} and report.sizes == {(24, 24): 132}
    text = "\n".join(report.lines())
    assert "(--task none), 120" in text and "recover, upscale, colour, edges" in text


def test_one_picture_is_too_few(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")
    report = check(recognise(tmp_path))
    assert report.fatal and said(report, "too little", "error") and report.suits == ()


def test_few_pictures_are_a_warning(tmp_path: Path) -> None:
    report = check(recognise(photos(tmp_path, *names(12))))
    assert not report.fatal and said(report, "learns them by heart", "warning")


def test_sides_without_pairs_suit_their_task_and_both_are_looked_at(tmp_path: Path) -> None:
    for side, start, few in (("A", 0, 120), ("B", 500, 110)):
        for split, count, at in (("train", few, start), ("test", 12, start + 200)):
            for i in range(at, at + count):
                save(photo(i), tmp_path / f"{split}{side}" / f"{i}.png")
    report = check(recognise(tmp_path))
    assert not report.fatal and report.findings == ()
    assert "Suits cut with --task unpaired: 120 given and 110 wanted" in report.suits[0]
    assert "pairs" not in report.suits[1]
    for file in tmp_path.glob("t*A/*.png"):
        file.write_bytes(b"damaged")
    report = check(recognise(tmp_path))
    assert report.fatal and said(report, "None of the 132 pictures can be read", "error")


def test_a_side_of_one_picture_and_sides_of_unlike_numbers(tmp_path: Path) -> None:
    photos(tmp_path / "trainA", "x.png")
    photos(tmp_path / "trainB", *names(30))
    report = check(recognise(tmp_path))
    assert said(report, "given pictures to train: 1; give at least 2", "error")
    assert said(report, "(1 given, 27 wanted)", "warning") and said(report, "27 times as often")
    assert said(report, "no given test picture", "warning")
    swapped = check(recognise(tmp_path, direction="BtoA"))
    assert said(swapped, "too little to learn from", "error") and said(swapped, "(27 given, 1 wanted)")


def test_partners_that_are_missing_are_counted(tmp_path: Path) -> None:
    photos(tmp_path / "photos", *names(10))
    photos(tmp_path / "sketches", *names(8))
    report = check(recognise(tmp_path))
    assert said(report, "Without a partner and left out: 2", "warning") and said(report, "photos/008.png")


def test_sides_of_other_sizes_and_shapes(tmp_path: Path) -> None:
    for i, n in enumerate(names(6)):
        save(photo(i, 40, 30), tmp_path / "photos" / n)
        save(drawing(i, *((80, 60) if i else (80, 80))), tmp_path / "sketches" / n)
    report = check(recognise(tmp_path))
    assert said(report, "In 6 pairs the two sides differ in size", "note")
    assert said(report, "In 1 pair the two sides differ in shape", "warning")
    assert said(report, "6 pictures are not square", "note")


def test_blown_up_pictures_are_noticed(tmp_path: Path) -> None:
    folder = recognise(photos(tmp_path, *names(6)))
    assert said(check(folder, size=64), "smaller than 64 px", "warning") and not said(
        check(folder), "smaller"
    )


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_unreadable_cut_and_exploding_files_never_crash(tmp_path: Path, kind: str) -> None:
    for i in range(8):
        save(photo(i, 64, 64), tmp_path / f"{i}.{kind}")
    (tmp_path / f"0.{kind}").write_bytes(b"no picture")
    whole = (tmp_path / f"1.{kind}").read_bytes()
    (tmp_path / f"1.{kind}").write_bytes(whole[: len(whole) * 2 // 3])
    if kind == "png":
        header = b"IHDR" + (90_000).to_bytes(4, "big") * 2 + whole[24:29]
        bomb = whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:]
        (tmp_path / "2.png").write_bytes(bomb)
    report = check(recognise(tmp_path))
    assert said(report, f"{3 if kind == 'png' else 2} of 8 examples left out", "warning") and not report.fatal


def test_all_unreadable_is_fatal(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    report = check(recognise(tmp_path))
    assert report.fatal and said(report, "None of the 4 pictures can be read", "error")


def test_copies_across_splits(tmp_path: Path) -> None:
    photos(tmp_path / "train", *names(6))
    photos(tmp_path / "test", *names(6, 50))
    for i, n in enumerate(names(6, 50)):
        save(photo(100 + i), tmp_path / "test" / n)
    shutil.copy(tmp_path / "train/000.png", tmp_path / "test/050.png")
    shutil.copy(tmp_path / "train/001.png", tmp_path / "train/002.png")
    report = check(recognise(tmp_path))
    assert said(report, "1 test picture is also among the training pictures", "warning")
    assert said(report, "1 training picture is the exact copy", "note") and not report.fatal
    shutil.rmtree(tmp_path / "test")
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    assert check(recognise(tmp_path)).fatal


def test_categories_without_training_pictures(tmp_path: Path) -> None:
    for category in "abc":
        photos(tmp_path / "test" / category, *names(2))
    for category in "ab":
        photos(tmp_path / "train" / category, *names(3))
    assert said(check(recognise(tmp_path)), "without a training picture: 1, such as c", "warning")


def test_label_maps_suit_labels(tmp_path: Path) -> None:
    for i, n in enumerate(names(8)):
        save(photo(i, 96, 96), tmp_path / "photos" / n)
        save(Image.fromarray(label_map(i)), tmp_path / "labels" / n)
    assert "--task labels: 7 pairs" in check(recognise(tmp_path)).suits[0]


def test_a_folder_that_may_not_be_read_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    photos(tmp_path / "d", *names(3))
    photos(tmp_path / "d/closed", *names(3))
    original = os.scandir

    def scandir(path: object) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return original(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scandir)
    assert said(check(recognise(tmp_path / "d")), "closed may not be read", "warning")


def test_headers_alone_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = recognise(photos(tmp_path, *names(6)))

    def decoded(*_: object) -> np.ndarray:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(Image.Image, "load", decoded)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    assert not check(folder).fatal
