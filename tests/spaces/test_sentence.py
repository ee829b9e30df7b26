"""Sentences become bytes and back; what users type is refused where it says nothing."""

from __future__ import annotations

import unicodedata

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redraft.core.errors import UsageError
from redraft.core.sentences import LENGTH
from redraft.spaces.category import Category
from redraft.spaces.sentence import Sentence

SPACE = Sentence()


@given(st.lists(st.text(max_size=400), max_size=4))
def test_bytes_are_the_composed_text_and_come_back_the_same(texts: list[str]) -> None:
    c = SPACE.encode(texts)
    assert c.shape == (len(texts), LENGTH) and c.dtype == torch.uint8
    words = SPACE.words(c)
    assert torch.equal(SPACE.encode(words), c)
    for row, word in zip(c, words, strict=True):
        assert bytes(row.tolist()).rstrip(b"\0") == word.encode()  # zeros stand behind alone
        assert word == " ".join(word.split()) and unicodedata.is_normalized("NFC", word)


def test_blanks_are_squeezed_and_forms_composed() -> None:
    assert SPACE.words(SPACE.encode(["  a\n\tred \u00a0shoe ", "cafe\u0301", "", "a\0b\x07"])) == [
        "a red shoe",
        "caf\u00e9",
        "",
        "ab",
    ]


@pytest.mark.parametrize("letter", ["a", "é", "鞋", "👟"])
def test_what_is_too_long_is_cut_between_characters(letter: str) -> None:
    (word,) = SPACE.words(SPACE.encode(["x" + letter * 300]))
    assert word == "x" + letter * ((LENGTH - 1) // len(letter.encode()))


@pytest.mark.parametrize(("text", "words"), [("", "empty"), (" \n\0", "empty"), ("a " * 200, "fewer words")])
def test_what_says_nothing_or_too_much_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        SPACE.read(text)
    assert str(refused.value).count(". ") == 0
    assert SPACE.words(SPACE.read(" a  red shoe")) == ["a red shoe"]


def test_sentences_are_shown_as_large_as_fits() -> None:
    c = SPACE.encode(["cat", "a large yellow dog asleep on a red sofa by the window", "", "x" * 250])
    shown = SPACE.show(c, 64)
    assert shown.shape == (4, 3, 64, 64) and shown.abs().max() <= 1
    ink = (shown.mean(1) < 0).float()
    assert (ink[[0, 1, 3]].flatten(1).sum(1) > 20).all() and ink[2].sum() == 0
    border = torch.cat([ink[:3, 0], ink[:3, -1], ink[:3, :, 0], ink[:3, :, -1]], 1)
    assert border.sum() == 0
    assert SPACE.show(c[:0], 64).shape == (0, 3, 64, 64)
    one, other = Category(names=("cat", "dog")).show(torch.tensor([0, 1]), 64)
    assert torch.equal(one, shown[0]) and not torch.equal(one, other)
