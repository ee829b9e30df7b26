"""Captions stay with their pictures, whatever else is read, skipped or cached."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import photo, photos, save

from redraft.core.errors import DataError
from redraft.data import Cache, Loader, captioned, check, embedded, in_order, recognise


def numbers(count: int) -> list[str]:
    return [f"{i:03d}.png" for i in range(count)]


def told(root: Path, count: int, captions: dict[int, str] | None = None) -> Path:
    """Pictures 000.png ... with "picture I" in I.txt, or with these captions."""
    photos(root, *numbers(count))
    for i in range(count):
        text = f"picture {i}" if captions is None else captions.get(i)
        if text is not None:
            (root / f"{i:03d}.txt").write_text(text, encoding="utf-8")
    return root


def test_a_caption_stays_with_its_picture_when_another_is_skipped(tmp_path: Path) -> None:
    folder = recognise(told(tmp_path / "d", 24))
    (tmp_path / "d/003.png").write_bytes(b"damaged")
    (tmp_path / "d/011.png").write_bytes(b"damaged")
    for _ in range(2):  # decoded, then from the cache
        store = Cache(tmp_path / "cache").build(folder, "train", size=8)
        assert len(store.captions) == len(store) == len(store.names)
        assert all(c == f"picture {int(n)}" for n, c in zip(store.names, store.captions, strict=True))
    assert len(store.skipped) == sum(n in ("003", "011") for n in (e.name for e in folder.examples["train"]))
    assert store.skipped


def test_pictures_of_one_name_keep_their_own_captions(tmp_path: Path) -> None:
    """Rows are matched by place, not by name: of two equal names one may be skipped."""
    folder = recognise(told(tmp_path / "d", 12))
    train = tuple(replace(e, name="same") for e in folder.examples["train"])
    folder = replace(folder, examples={**folder.examples, "train": train})
    Path(train[1].target.path).write_bytes(b"damaged")
    store = Cache(tmp_path / "cache").build(folder, "train", size=8)
    assert store.captions == (train[0].caption, *(e.caption for e in train[2:]))


def test_a_mended_caption_is_read_and_no_picture_again(tmp_path: Path) -> None:
    folder, cache = recognise(told(tmp_path / "d", 12)), Cache(tmp_path / "cache")
    before = cache.build(folder, "train", size=8)
    (tmp_path / "d" / f"{before.names[0]}.txt").write_text("mended")
    after = cache.build(recognise(tmp_path / "d"), "train", size=8)
    assert after.captions[0] == "mended" and after.captions[1:] == before.captions[1:]
    assert len([p for p in (tmp_path / "cache/pictures").iterdir() if p.is_dir()]) == 1


def test_an_older_cache_with_skipped_pictures_is_made_again(tmp_path: Path) -> None:
    folder, cache = recognise(told(tmp_path / "d", 12)), Cache(tmp_path / "cache")
    Path(folder.examples["train"][0].target.path).write_bytes(b"damaged")
    wanted = cache.build(folder, "train", size=8).captions
    (facts,) = (tmp_path / "cache/pictures").glob("*/facts.json")
    old = json.loads(facts.read_text())
    del old["left_out"]
    facts.write_text(json.dumps(old))
    assert cache.build(folder, "train", size=8).captions == wanted == wanted[:12]


def test_batches_say_which_rows_they_hold_and_how(tmp_path: Path) -> None:
    store = Cache(tmp_path / "cache").build(recognise(told(tmp_path / "d", 24)), "train", size=8, margin=2)
    for rank in range(2):
        raw = Loader(store, batch=8, seed=3, size=8, flip=True, rank=rank, world=2).batch(5).to("cpu")
        assert raw.captions == tuple(store.captions[i] for i in raw.rows)
        assert raw.names == tuple(store.names[i] for i in raw.rows)
        assert raw.mirrored.dtype == bool and len(raw.mirrored) == len(raw.target) == 4
        assert (raw.given_rows == raw.rows).all() and (raw.given_mirrored == raw.mirrored).all()
    middle = [raw for raw in in_order(store, 5)]
    assert np.concatenate([r.rows for r in middle]).tolist() == list(range(len(store)))
    assert not np.concatenate([r.mirrored for r in middle]).any()


def test_a_row_and_its_mirror_give_the_picture_of_the_batch(tmp_path: Path) -> None:
    store = Cache(tmp_path / "cache").build(recognise(told(tmp_path / "d", 24)), "train", size=8)
    raw = Loader(store, batch=16, seed=0, size=8, flip=True).batch(2)
    assert raw.mirrored.any() and not raw.mirrored.all()
    for x, row, mirrored in zip(raw.target, raw.rows, raw.mirrored, strict=True):
        expected = torch.from_numpy(np.array(store.target[row]))
        assert torch.equal(x, expected.flip(-1) if mirrored else expected)


def test_sides_without_pairs_have_rows_of_their_own(tmp_path: Path) -> None:
    for side, start, few in (("A", 0, 15), ("B", 500, 12)):
        for split, count, at in (("train", few, start), ("test", 3, start + 200)):
            for i in range(at, at + count):
                save(photo(i), tmp_path / f"d/{split}{side}" / f"{i}.png")
    store = Cache(tmp_path / "cache").build(recognise(tmp_path / "d"), "train", size=8)
    raw = Loader(store, batch=12, seed=0, size=8, flip=True).batch(1)
    assert raw.captions == () and raw.condition is not None and store.condition is not None
    assert (raw.given_rows != raw.rows).any() and (raw.given_mirrored != raw.mirrored).any()
    for c, row, mirrored in zip(raw.condition, raw.given_rows, raw.given_mirrored, strict=True):
        expected = torch.from_numpy(np.array(store.condition[row]))
        assert torch.equal(c, expected.flip(-1) if mirrored else expected)


def test_only_captioned_pictures_are_kept_and_counted(tmp_path: Path) -> None:
    texts = {i: f"picture {i}" for i in range(20)} | {3: " \n", 4: ""}
    folder = captioned(recognise(told(tmp_path / "d", 24, texts)))
    assert sum(map(len, folder.examples.values())) == 18
    assert all(e.caption for group in folder.examples.values() for e in group)
    assert folder.notes[-1] == "6 of 24 pictures have no caption and are left out."
    whole = recognise(told(tmp_path / "e", 12))
    assert captioned(whole) is whole


def test_names_of_categories_are_captions_where_there_are_none(tmp_path: Path) -> None:
    folder = captioned(embedded("fashion"))
    assert folder.examples["train"][0].caption == folder.categories[folder.examples["train"][0].category or 0]
    assert folder.has_captions and "names of the categories" in folder.notes[-1]
    assert captioned(embedded("emoji")).examples == embedded("emoji").examples  # they have captions
    with pytest.raises(DataError, match=r"NAME\.txt"):
        captioned(recognise(photos(tmp_path / "d", *numbers(4))))


@pytest.mark.parametrize(
    ("captions", "severity", "words"),
    [
        ({i: f"picture {i}" for i in range(18)} | {2: "  "}, "warning", "without a caption: 3 of 20"),
        ({i: "a thing" for i in range(20)}, "warning", "All captions are the same ('a thing')"),
        ({i: f"thing {i // 2 if i < 6 else i}" for i in range(20)}, "note", "has: 6 of 20 pictures"),
        ({i: f"{i} " + "long " * (80 * (i < 2)) for i in range(20)}, "warning", "longer than 256 bytes: 2;"),
    ],
)
def test_what_is_wrong_with_captions_is_said(
    tmp_path: Path, captions: dict[int, str], severity: str, words: str
) -> None:
    report = check(recognise(told(tmp_path / "d", 20, captions)))
    assert any(f.severity == severity and words in f.sentence for f in report.findings), report.findings
    assert not report.fatal and any("--task text" in line for line in report.suits)


def test_sound_captions_are_no_finding(tmp_path: Path) -> None:
    report = check(recognise(told(tmp_path / "d", 20)))
    assert not any("aption" in f.sentence for f in report.findings)


def test_the_first_caption_of_several_is_taken(tmp_path: Path) -> None:
    photos(tmp_path / "d", *numbers(4))
    rows = [{"file_name": n, "captions": 0, "text": [f"this is {n}", "another"]} for n in numbers(4)]
    (tmp_path / "d/metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = recognise(tmp_path / "d")
    assert {e.caption for e in folder.every("train")} <= {f"this is {n}" for n in numbers(4)}
