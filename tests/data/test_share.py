"""A share of the training pictures: nested, even, the same whatever the seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from redraft.data.folder import Example, Folder
from redraft.data.source import Source
from redraft.data.splits import shared


def folder(n: int, categories: int = 1) -> Folder:
    made = tuple(
        Example(f"{i:03d}", Source(f"{i:03d}.png"), category=i % categories if categories > 1 else None)
        for i in range(n)
    )
    return Folder(Path("d"), "flat", "made", {"train": made, "test": made[:3]})


def names(of: Folder) -> list[str]:
    return [e.name for e in of.examples["train"]]


def test_smaller_shares_lie_in_larger_ones_in_the_folders_order() -> None:
    whole = folder(200)
    kept = [names(shared(whole, share)) for share in (0.01, 0.1, 0.25, 0.5, 1)]
    assert [len(k) for k in kept] == [2, 20, 50, 100, 200]
    for small, large in zip(kept, kept[1:], strict=False):
        assert set(small) < set(large) and small == sorted(small)
    assert shared(whole, 1.0) is whole
    assert shared(whole, 0.1).examples["test"] == whole.examples["test"]
    assert names(shared(folder(1), 0.5)) == ["000"]


def test_a_pictures_place_depends_on_its_name_alone() -> None:
    whole = folder(200)
    turned = replace(whole, examples={"train": whole.examples["train"][::-1]})
    assert set(names(shared(whole, 0.3))) == set(names(shared(turned, 0.3)))
    fewer = replace(whole, examples={"train": whole.examples["train"][:150]})
    both = set(names(shared(whole, 0.3))) & set(names(fewer))
    assert len(both - set(names(shared(fewer, 0.4)))) == 0  # who was early stays early


@pytest.mark.parametrize("share", [0.1, 0.35])
def test_categories_keep_their_proportions(share: float) -> None:
    whole = folder(300, categories=3)
    kept = [e.category for e in shared(whole, share).examples["train"]]
    assert all(abs(kept.count(k) - share * 100) <= 1 for k in range(3))


def test_both_sides_without_pairs_are_shared() -> None:
    whole = folder(40)
    sides = replace(whole, given={"train": folder(20).examples["train"]})
    half = shared(sides, 0.25)
    assert len(half.examples["train"]) == 10 and len(half.given["train"]) == 5
