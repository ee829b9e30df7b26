"""Words beside pictures: metadata.csv and .jsonl, lists such as names.json, captions in text files."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from redraft.core.errors import DataError
from redraft.data.folder import Example
from redraft.data.layouts import Found, Splits
from redraft.data.naming import places
from redraft.data.scan import Tree

FILE = ("file_name", "file", "filename", "image", "target", "path")
CATEGORY = ("category", "label", "class", "group")
CAPTION = ("caption", "text", "name", "prompt", "description", "annotation")
CONDITION = (
    "condition",
    "condition_file_name",
    "conditioning_image",
    "condition_image",
    "source",
    "sketch",
    "edge",
)
Row = dict[str, Any]


def in_metadata(tree: Tree) -> Found | None:
    """ImageFolder: metadata.csv or metadata.jsonl naming the files beside it, one table for each split."""
    names = [n for n in tree.tables if PurePosixPath(n).name.lower() in ("metadata.csv", "metadata.jsonl")]
    if not names:
        return None
    splits: Splits = defaultdict(list)
    labels: list[tuple[Example, str | None]] = []
    missing, columns = [], set()
    for name in names:
        here = PurePosixPath(name).parent
        for row in _rows(tree, name):
            file = _first(row, FILE)
            if file is None:
                raise DataError(f"{tree.root / name} has no column file_name: add one.")
            where = str(here / file)
            if where not in tree.pictures:
                missing.append(where)
                continue
            example = Example(str(PurePosixPath(where).with_suffix("")), tree.pictures[where])
            given = next((k for k in CONDITION if row.get(k)), None)
            if given:
                columns.add(given)
                condition = str(here / str(row[given]))
                if condition not in tree.pictures:
                    missing.append(condition)
                    continue
                example = replace(example, condition=tree.pictures[condition])
            example = replace(example, caption=_first(row, CAPTION))
            labels.append((example, _first(row, CATEGORY)))
    if not labels:
        raise DataError(f"None of the files that {tree.root / names[0]} names is there: mend its file names.")
    categories = categories_of(text for _, text in labels)
    number = {c: i for i, c in enumerate(categories)}
    split = {_stem(p.name): p.split for p in places(tree.pictures)}
    for example, text in labels:
        category = None if text is None else number[text]
        splits[split[example.name]].append(replace(example, category=category))
    words = f"pictures named in {PurePosixPath(names[0]).name}"
    sides = (columns.pop(), "image") if len(columns) == 1 else None
    note = (
        f"{len(missing)} files named in the metadata are not there, such as {missing[0]}." if missing else ""
    )
    notes = (note,) if note else ()
    return Found("metadata", words, splits, categories, sides, notes=notes)


def with_words(found: Found, tree: Tree) -> Found:
    """Captions and categories from lists of names or text files beside the pictures, where most have one."""
    rows = _named_rows(tree)
    texts = {_stem(n) for n in tree.tables if n.lower().endswith((".txt", ".caption"))}
    examples = [e for group in found.splits.values() for e in group]
    listed = sum(PurePosixPath(e.name).name in rows for e in examples)
    described = sum(e.name in texts for e in examples)
    if listed >= 0.5 * len(examples):
        return _from_rows(found, rows)
    if described >= 0.5 * len(examples):
        return _from_texts(found, tree)
    return found


def _from_rows(found: Found, rows: dict[str, Row]) -> Found:
    def row(example: Example) -> Row:
        return rows.get(PurePosixPath(example.name).name, {})

    categories = found.categories
    number: dict[str | None, int] = {}
    if not categories:
        every = [_first(row(e), CATEGORY) for group in found.splits.values() for e in group]
        categories = categories_of(every) if None not in every else ()
        number = {c: i for i, c in enumerate(categories)}
    splits: Splits = {}
    for split, group in found.splits.items():
        splits[split] = [
            replace(
                e,
                caption=_first(row(e), CAPTION) or e.caption,
                category=number[_first(row(e), CATEGORY)] if number else e.category,
            )
            for e in group
        ]
    return replace(found, splits=splits, categories=categories)


def _from_texts(found: Found, tree: Tree) -> Found:
    files = {_stem(n): n for n in tree.tables if n.lower().endswith((".txt", ".caption"))}
    splits = {
        split: [replace(e, caption=tree.text(files[e.name]).strip()) if e.name in files else e for e in group]
        for split, group in found.splits.items()
    }
    return replace(found, splits=splits)


def _named_rows(tree: Tree) -> dict[str, Row]:
    """Rows of the JSON lists (and tables) at the top of the folder, or just above it, by the file's stem."""
    lists = [n for n in tree.tables if "/" not in n and n.lower().endswith((".json", ".jsonl", ".csv"))]
    rows = [row for name in lists for row in _rows(tree, name, strict=False)]
    above = tree.root.parent / "names.json"
    if not rows and tree.root.is_dir() and above.is_file():
        try:
            rows = _list(json.loads(above.read_text("utf-8", errors="replace")))
        except ValueError:
            rows = []
    found = {}
    for row in rows:
        file = _first(row, FILE)
        if file:
            found[PurePosixPath(file).stem] = row
    return found


def _rows(tree: Tree, name: str, *, strict: bool = True) -> list[Row]:
    text = tree.text(name)
    try:
        if name.lower().endswith(".csv"):
            return list(csv.DictReader(io.StringIO(text)))
        if name.lower().endswith(".jsonl"):
            return _list([json.loads(line) for line in text.splitlines() if line.strip()])
        return _list(json.loads(text))
    except (ValueError, csv.Error) as broken:
        if strict:
            raise DataError(f"{tree.root / name} cannot be read ({broken}).") from None
        return []


def _list(value: Any) -> list[Row]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _first(row: Row, keys: tuple[str, ...]) -> str | None:
    """What a row says under the first of these keys that says something; of a list its first."""
    values = (value[0] if isinstance(value, list) and value else value for value in map(row.get, keys))
    return next((text for text in map(_text, values) if text), None)


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, (list, dict)) else str(value).strip()


def categories_of(values: Iterable[str | None]) -> tuple[str, ...]:
    """The distinct names, sorted, numbers by value."""
    names = {v for v in values if v is not None}
    return tuple(sorted(names, key=lambda n: (int(n), "") if n.isdigit() else (10**9, n)))


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
