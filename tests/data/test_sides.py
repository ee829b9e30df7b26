"""Two sides without pairs, whose files happen to have equal names."""

from __future__ import annotations

from pathlib import Path

from folders import photos

from redraft.data import Folder, check, recognise


def numbers(count: int) -> list[str]:
    return [f"{i:03d}.png" for i in range(count)]


def counts(folder: Folder) -> tuple[int, int]:
    return len(folder.examples["train"]), len(folder.examples["test"])


def test_equal_names_are_chance_where_two_sides_are_wanted_and_numbers_differ(tmp_path: Path) -> None:
    photos(tmp_path / "d/trainA", *numbers(3))
    photos(tmp_path / "d/trainB", *numbers(9))
    photos(tmp_path / "d/testA", *numbers(2))
    photos(tmp_path / "d/testB", *numbers(2))
    assert not recognise(tmp_path / "d").unpaired
    told = " ".join(f.sentence for f in check(recognise(tmp_path / "d")).findings)
    assert "--task unpaired" in told
    folder = recognise(tmp_path / "d", unpaired=True)
    assert folder.unpaired and not folder.unmatched and counts(folder) == (9, 2)
    assert {s: len(g) for s, g in folder.given.items()} == {"train": 3, "test": 2}
    turned = recognise(tmp_path / "d", direction="BtoA", unpaired=True)
    assert counts(turned) == (3, 2) and len(turned.given["train"]) == 9
    photos(tmp_path / "whole/A", *numbers(4))
    photos(tmp_path / "whole/B", *numbers(4))
    assert not recognise(tmp_path / "whole", unpaired=True).unpaired  # its pairs do no harm
