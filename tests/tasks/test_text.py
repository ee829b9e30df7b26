"""Sentence to picture: the caption is the condition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from redraft.core.errors import DataError
from redraft.core.rng import BatchNoise, stream
from redraft.data import Cache, Example, Folder, Source, captioned, embedded, in_order
from redraft.spaces.sentence import Sentence
from redraft.tasks.text import TextToPicture


def folder(**known: object) -> Folder:
    caption = known.pop("caption", None)
    one = (Example("a", Source("a.png"), caption=caption),)  # type: ignore[arg-type]
    return Folder(Path("d"), "", "", {"train": one, "test": one}, **known)  # type: ignore[arg-type]


def test_which_folders_suit() -> None:
    assert TextToPicture.misfit(folder(caption="a shoe")) is None
    assert TextToPicture.misfit(folder(categories=("a", "b"))) is None  # names can be captions
    said = TextToPicture.misfit(folder()) or ""
    assert "NAME.txt" in said and "metadata.jsonl" in said and "file_name" in said


def test_the_condition_is_the_caption(tmp_path: Path) -> None:
    emoji = embedded("emoji")
    task = TextToPicture.of(emoji, 16)
    assert (task.spec.condition, task.spec.width, task.spec.channels) == ("sentence", 256, 3)
    few = {"train": emoji.examples["train"][:6], "test": emoji.examples["test"][:6]}
    emoji = Folder(emoji.root, "", "", few, emoji.categories)
    store = Cache(tmp_path).build(captioned(emoji), "test", size=16)
    (raw,) = in_order(store, 8)
    c, x = task.pair(raw, BatchNoise(stream(0)))
    assert c is not None and Sentence().words(c) == [e.caption for e in few["test"]]
    assert x.shape == (6, 3, 16, 16) and task.keep(x, c) is x
    assert task.show(c, 6).shape[:2] == (6, 3)
    assert torch.equal(
        task.read("grinning face", BatchNoise(stream(0))), Sentence().encode(["grinning face"])
    )
    with pytest.raises(DataError, match="no captions"):
        task.pair(raw._replace(captions=()), BatchNoise(stream(0)))
