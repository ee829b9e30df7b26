"""The embedded pictures are there, are what they should be, and fit into the package."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import shared_data

from redraft.core.errors import UsageError
from redraft.data import build, catalogue, check, embedded, embedded_names, source

HERE = Path(source.__file__).parent / "embedded"


def test_names_sizes_and_licences() -> None:
    assert embedded_names() == ("emoji", "fashion")
    assert sum(f.stat().st_size for f in HERE.rglob("*") if f.is_file()) <= 12_000_000
    assert {"SOURCE.md", "LICENSE.fashion", "LICENSE.emoji", "LICENSE.emoji-names"} <= {
        f.name for f in HERE.iterdir()
    }
    with pytest.raises(UsageError, match="did you mean 'fashion'"):
        embedded("fashon")
    assert {"fashion", "emoji"} <= {e.name for e in catalogue()}
    assert all(e.terms and e.where and e.what for e in catalogue())


def test_fashion_counts_and_pixels() -> None:
    folder = embedded("fashion")
    for split, each in (("train", 1200), ("test", 200)):
        counted = np.bincount([e.category or 0 for e in folder.examples[split]])
        assert counted.tolist() == [each] * 10
    store = build(folder, "test", size=28)
    assert store.target.shape == (2000, 1, 28, 28)
    assert store.target.mean() / 255 == pytest.approx(0.28685, abs=0.01)  # the published test mean
    assert not check(folder).fatal


def test_fashion_is_the_original() -> None:
    with gzip.open(shared_data("fashion_mnist", "t10k-images-idx3-ubyte.gz")) as file:
        raw = file.read()
    original = np.frombuffer(raw, np.uint8, offset=16).reshape(struct.unpack(">3I", raw[4:16]))
    known = {one.tobytes() for one in original}
    store = build(embedded("fashion"), "test", size=28)
    assert all(one.tobytes() in known for one in store.target[:, 0])


def test_emoji_have_names_and_groups_and_no_near_copy_in_the_test() -> None:
    folder = embedded("emoji")
    train, test = folder.examples["train"], folder.examples["test"]
    assert (len(train), len(test), len(folder.categories)) == (1700, 211, 10)
    assert all(e.caption for e in train + test) and "grinning face" in {e.caption for e in train + test}
    bare = [{re.sub("-1f3f[b-f]|-fe0f", "", e.name) for e in group} for group in (train, test)]
    assert not bare[0] & bare[1]
    assert not any("also among the training" in f.sentence for f in check(folder).findings)
    assert build(folder, "test", size=64).target.shape == (211, 3, 64, 64)


def test_emoji_are_the_originals() -> None:
    folder = embedded("emoji")
    for example in folder.examples["test"][:20]:
        with Image.open(shared_data("emoji_noto_twemoji", "noto", f"{example.name}.png")) as picture:
            over = Image.new("RGBA", picture.size, (255, 255, 255))
            over.alpha_composite(picture.convert("RGBA"))
        difference = np.abs(source.read(example.target).astype(int) - np.asarray(over)[..., :3])
        assert difference.max() <= 1
