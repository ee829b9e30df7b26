"""What the names of folders and files say: splits, sides, stems."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from redraft.data.direction import CONDITIONS, TARGETS

TRAIN = ("train", "training", "trn")
TEST = ("test", "testing", "tst")
VALIDATION = ("val", "valid", "validation", "eval", "dev", "holdout")
_SPLIT = "|".join(sorted(TRAIN + TEST + VALIDATION, key=len, reverse=True))
_BEFORE = re.compile(rf"({_SPLIT})(?:[_\-. ]+(.+)|([ab]))?", re.IGNORECASE)
_AFTER = re.compile(rf"(.+)[_\-. ]+({_SPLIT})", re.IGNORECASE)


class Place(NamedTuple):
    """A picture's name taken apart: "train/A/x/0001.png" -> split "train", group ("A", "x"), stem "0001"."""

    name: str
    split: str  # "train", "test", "validation" or ""
    group: tuple[str, ...]
    stem: str


Matches = dict[tuple[str, ...], dict[str, Place]]  # key -> side -> place


def split_of(component: str) -> tuple[str, str] | None:
    """ "trainA", "A_train", "val" -> ("train", "A"), ("train", "A"), ("validation", ""); else None."""
    if found := _BEFORE.fullmatch(component):
        return _canonical(found[1]), found[2] or found[3] or ""
    if found := _AFTER.fullmatch(component):
        return _canonical(found[2]), found[1]
    return None


def places(names: Iterable[str]) -> list[Place]:
    """Take all names apart at once: a level of folders is the splits when its names say so together."""
    paths = [PurePosixPath(n) for n in names]
    level = _split_level([p.parts[:-1] for p in paths])
    found = []
    for path in paths:
        split, group = "", list(path.parts[:-1])
        if level is not None and len(group) > level and (told := split_of(group[level])):
            split = told[0]
            group[level : level + 1] = [told[1]] if told[1] else []
        found.append(Place(str(path), split, tuple(group), path.stem))
    return _without_constant_levels(found)


def _canonical(word: str) -> str:
    word = word.lower()
    return "train" if word in TRAIN else "test" if word in TEST else "validation"


def _split_level(folders: list[tuple[str, ...]]) -> int | None:
    for level in range(max(map(len, folders), default=0)):
        components = {f[level] for f in folders if len(f) > level}
        told = [split_of(c) for c in components]
        splits = {t[0] for t in told if t}
        whole = all(told) and all(len(f) > level for f in folders)
        if whole or ("train" in splits and len(splits) > 1):
            return level
    return None


def _without_constant_levels(found: list[Place]) -> list[Place]:
    """Levels with one name for all say nothing; they are dropped from the front and from the back."""
    groups = {p.group for p in found}
    front = back = 0
    while all(len(g) > front for g in groups) and len({g[front] for g in groups}) == 1:
        front += 1
    groups = {g[front:] for g in groups}
    while all(len(g) > back for g in groups) and len({g[-1 - back] for g in groups}) == 1:
        back += 1
    return [p._replace(group=p.group[front : len(p.group) - back]) for p in found]


def matched(sides: dict[str, list[Place]]) -> Matches:
    """Partners by key = (split, folders below the side, stem): {key: {side: place}}.

    Where few stems are equal, words that name the sides ("0001_photo", "0001_sketch") are ignored.
    """
    plain = _by_key(sides, lambda side, stem: stem)
    if _share(plain, sides) >= 0.5:
        return plain
    stripped = _by_key(sides, _bare)
    return stripped if _share(stripped, sides) > _share(plain, sides) else plain


def _by_key(sides: dict[str, list[Place]], key: Callable[[str, str], str]) -> Matches:
    table: Matches = defaultdict(dict)
    for side, members in sides.items():
        for place in members:
            table[place.split, *place.group[1:], key(side, place.stem)].setdefault(side, place)
    return dict(table)


def _bare(side: str, stem: str) -> str:
    words = [w for w in re.split(r"[_\-. ]+", stem) if w]
    kept = [w for w in words if w.lower() not in CONDITIONS | TARGETS | {side.lower(), "a", "b"}]
    return "_".join(kept)


def _share(table: Matches, sides: dict[str, list[Place]]) -> float:
    """Share of the smallest side that found a partner on every other."""
    whole = sum(len(found) == len(sides) for found in table.values())
    return whole / max(1, min(map(len, sides.values())))
