"""Captions of a folder's pictures: those that have one, and names of categories where none has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from redraft.core.errors import DataError
from redraft.core.sentences import LENGTH, tidy
from redraft.data.folder import SPLITS, Example, Folder


def captioned(folder: Folder) -> Folder:
    """The folder with a caption for every picture, for learning from sentences.

    Pictures without one are left out, and a note says how many. In a folder that has categories and no
    caption at all, the category's name is the caption. DataError where neither is there, or where the
    training pictures have none.
    """
    if not folder.has_captions:
        return _named(folder)
    kept = {s: tuple(e for e in group if has_caption(e)) for s, group in folder.examples.items()}
    if not kept.get("train"):
        raise DataError(
            f"No training picture of {folder.root} has a caption: add some, see redraft data check."
        )
    total = sum(map(len, folder.examples.values()))
    missing = total - sum(map(len, kept.values()))
    if not missing:
        return folder
    note = f"{missing} of {total} pictures have no caption and are left out."
    return replace(folder, examples=kept, notes=(*folder.notes, note))


def has_caption(example: Example) -> bool:
    """Whether its caption holds anything but blanks."""
    return bool(example.caption and tidy(example.caption))


def about(folder: Folder) -> Iterator[tuple[Literal["warning", "note"], str]]:
    """What is wrong with the captions of a folder that has some: severity and sentence."""
    if not folder.has_captions:
        return
    examples = [e for split in SPLITS for e in folder.examples.get(split, ())]
    bare = [e.name for e in examples if not has_caption(e)]
    if bare:
        yield (
            "warning",
            f"Pictures without a caption: {len(bare)} of {len(examples)}, such as {bare[0]}; --task text "
            "leaves them out: write one for each, or take them away.",
        )
    said = Counter(tidy(e.caption or "") for e in examples if has_caption(e))
    shared = sum(count for count in said.values() if count > 1)
    if len(said) == 1 and said.total() > 1:
        yield (
            "warning",
            f"All captions are the same ({next(iter(said))!r}): they say nothing of the pictures.",
        )
    elif shared:
        often, most = said.most_common(1)[0]
        yield (
            "note",
            f"Captions that more than one picture has: {shared} of {said.total()} pictures; most often "
            f"{often[:60]!r} ({most}).",
        )
    long = sum(len(text.encode()) > LENGTH for text in said.elements())
    if long:
        yield "warning", f"Captions longer than {LENGTH} bytes: {long}; what stands behind is not read."


def _named(folder: Folder) -> Folder:
    if len(folder.categories) < 2:
        raise DataError(f"The pictures of {folder.root} have no captions: write NAME.txt beside NAME.png.")
    names = [name.replace("_", " ") for name in folder.categories]
    examples = {split: _with_names(group, names) for split, group in folder.examples.items()}
    note = "There are no captions: the names of the categories are taken for them."
    return replace(folder, examples=examples, notes=(*folder.notes, note))


def _with_names(group: Sequence[Example], names: Sequence[str]) -> tuple[Example, ...]:
    return tuple(replace(e, caption=names[e.category]) for e in group if e.category is not None)
