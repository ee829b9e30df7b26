"""Folders that the Hugging Face package ``datasets`` saved (an extra: pip install redraft[data])."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redraft.core.errors import Ambiguous, DataError
from redraft.data import direction as sides_of
from redraft.data import labelmaps
from redraft.data.folder import Example
from redraft.data.layouts import Found, Splits, evenly, looks
from redraft.data.naming import split_of
from redraft.data.source import Source, saved_dataset
from redraft.data.tables import CAPTION, CATEGORY, categories_of


def in_saved_dataset(root: Path, direction: str | None) -> Found:
    """Image columns become sides; a class label the category; a text the caption."""
    tables = saved_dataset(str(root))
    features = next(iter(tables.values())).features
    images = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    if not images:
        raise DataError(f"{root} has no column of pictures: its columns are {', '.join(features)}.")
    sides = _sides(images, direction, root, tables)
    label = next((c for c in (*CATEGORY, "fine_label") if c in features), None)
    text = next((c for c in CAPTION if c in features and c != label), None)
    names = getattr(features[label], "names", None) if label else None
    values = {s: table[label] if label else [None] * len(table) for s, table in tables.items()}
    if label and not names:
        names = categories_of(str(v) for column in values.values() for v in column)
        values = {s: [names.index(str(v)) for v in column] for s, column in values.items()}
    splits: Splits = defaultdict(list)
    for split, table in tables.items():
        kind = (split_of(split) or ("",))[0]
        captions = table[text] if text else [None] * len(table)
        for row, (category, caption) in enumerate(zip(values[split], captions, strict=True)):
            target = Source(str(root), f"{split}#{row}:{sides[-1] if sides else images[0]}")
            condition = Source(str(root), f"{split}#{row}:{sides[0]}") if sides else None
            name = f"{split or 'row'}/{row:06d}"
            splits[kind].append(Example(name, target, condition, category, caption))
    words = "a saved dataset" + (f", the column {sides[0]} given, {sides[1]} wanted" if sides else "")
    return Found("saved dataset", words, splits, tuple(names or ()), sides)


def _sides(
    images: Sequence[str], direction: str | None, root: Path, tables: dict[str, Any]
) -> tuple[str, str] | None:
    if len(images) == 1:
        return None
    told = [c for c in images if direction and c.lower() in direction.lower().split(":")]
    given = [c for c in images if sides_of.role(c) == "condition"]
    wanted = [c for c in images if sides_of.role(c) == "target"]
    pair = images if len(images) == 2 else told if len(told) == 2 else [*given, *wanted]
    if len(pair) != 2:
        answers = [f"--direction {a}:{b}" for a in images for b in images if a != b]
        raise Ambiguous("Which column of pictures is given, and which is wanted?", answers)

    def look(column: str) -> labelmaps.Sample:
        split, table = next(iter(tables.items()))
        return looks([Source(str(root), f"{split}#{i}:{column}") for i in evenly(range(len(table)), 24)])

    return sides_of.choose((pair[0], pair[1]), direction, look)
