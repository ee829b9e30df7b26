"""A folder of pictures -> what it is, without flags: names first, then content, then a question."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from redraft.core import images
from redraft.core.errors import DataError, RedraftError
from redraft.data import direction as sides_of
from redraft.data import labelmaps, layouts, source, tables
from redraft.data.folder import ConditionKind, Example, Folder
from redraft.data.layouts import Found, Splits, evenly
from redraft.data.scan import Tree, scan
from redraft.data.source import Source
from redraft.data.splits import make_split

SAMPLE = 32  # pictures looked at to tell grey from colour and labels from drawings
LABEL_SAMPLE = 200  # label maps looked at to find every label


def recognise(
    path: str | Path, *, direction: str | None = None, seed: int = 0, unpaired: bool = False
) -> Folder:
    """Understand a folder (or a zip) of pictures.

    ``direction`` answers which side is given and which is wanted: "sketches:photos", "left:right",
    "AtoB", or "classes" when two folders are no pairs. Two folders without partners of equal names are
    categories, unless ``direction`` or their names (A and B) say that they are sides: then ``Folder.given``
    holds the given side. ``unpaired``: two sides are wanted, so where equal names do not pair every picture
    they are chance. ``seed`` draws the test split where the folder has none. Raises Ambiguous with the
    candidate answers, DataError when there is nothing to learn.
    """
    root = Path(path).expanduser()
    if (root / "dataset_info.json").is_file() or (root / "dataset_dict.json").is_file():
        from redraft.data import hugging_face

        found, tree = hugging_face.in_saved_dataset(root, direction), Tree(root)
    else:
        tree = scan(root)
        found = _read(tree, direction, unpaired)
    return _folder(found, tree, seed)


def _read(tree: Tree, direction: str | None, unpaired: bool) -> Found:
    found = layouts.in_idx(tree) if not tree.pictures else None
    found = found or (_in_pictures(tree, direction, unpaired) if tree.pictures else None)
    if found is None:
        raise DataError(_nothing(tree))
    return found


def _in_pictures(tree: Tree, direction: str | None, unpaired: bool) -> Found:
    _refuse_clips(tree)
    found = tables.in_metadata(tree)
    return found or tables.with_words(layouts.in_folders(tree, direction, unpaired), tree)


def _nothing(tree: Tree) -> str:
    if tree.clips:
        return (
            f"{tree.root} holds {len(tree.clips)} clips, such as {tree.clips[0]}, and no pictures: "
            "this version learns from pictures, so save the frames as PNG first."
        )
    if len(tree.zips) > 1:
        return f"{tree.root} holds {len(tree.zips)} zips: name one of them, such as {tree.zips[0]}."
    if any(n.lower().endswith(".parquet") for n in tree.others):
        return f"{tree.root} holds parquet tables: save them as a folder with datasets' save_to_disk first."
    held = f"{len(tree.others) + len(tree.tables)} other files" if tree.others or tree.tables else "nothing"
    return (
        f"{tree.root} holds no pictures, only {held}: put PNG or JPEG files in it."
        if held != "nothing"
        else (f"{tree.root} is empty: put pictures in it, PNG or JPEG for example.")
    )


def _refuse_clips(tree: Tree) -> None:
    """A folder whose pictures are all animated GIFs holds clips."""
    if not all(n.lower().endswith(".gif") for n in tree.pictures):
        return
    moving = 0
    sample = evenly(list(tree.pictures.values()), 8)
    for one in sample:
        try:
            with images.opened(source.content(one)) as picture:
                moving += getattr(picture, "n_frames", 1) > 1
        except RedraftError:
            continue
    if moving > len(sample) / 2:
        tree.clips += list(tree.pictures)
        raise DataError(_nothing(tree))


def _folder(found: Found, tree: Tree, seed: int) -> Folder:
    examples, made, notes = _splits(found.splits, tree, seed)
    examples, half = _whole(examples)
    given, made_too, more = _splits(found.given, tree, seed) if found.given else ({}, False, ())
    every = [e for group in examples.values() for e in group]
    if not every:
        raise DataError(f"{tree.root} holds no example that is whole: see redraft data check.")
    conditions = [e.condition for e in every if e.condition]
    kind, labels = _condition(found, conditions)
    if given:  # whatever they hold, they are pictures here
        conditions, kind = [e.target for group in given.values() for e in group], "picture"
    channels, bits = _depth([e.target for e in every])
    grey = _depth(conditions)[0] if kind == "picture" else 3
    folder = Folder(
        root=tree.root,
        layout=found.layout,
        understood="",
        examples=examples,
        categories=found.categories,
        condition_kind=kind,
        palette=labels.palette if labels else None,
        classes=labels.classes if labels else 0,
        channels=channels,
        condition_channels=grey,
        bits=bits,
        made_split=made or made_too,
        given=given,
        unmatched=(*found.unmatched, *half),
        notes=(*found.notes, *dict.fromkeys(notes + more), *tree.problems),
    )
    return _with_sentence(folder, found, labels)


def _splits(
    found: Splits, tree: Tree, seed: int
) -> tuple[dict[str, tuple[Example, ...]], bool, tuple[str, ...]]:
    train = [*found.get("train", []), *found.get("", [])]
    test, validation = found.get("test", []), found.get("validation", [])
    notes: tuple[str, ...] = ()
    if test and validation:
        notes = (f"{len(validation)} validation pictures are left alone: the test pictures are used.",)
    test = test or validation
    if train and test:
        return {"train": tuple(train), "test": tuple(test)}, False, notes
    return make_split(train or test, content_key(tree.root, train or test), seed), True, notes


def _whole(
    examples: dict[str, tuple[Example, ...]],
) -> tuple[dict[str, tuple[Example, ...]], tuple[str, ...]]:
    """Where some examples have a condition, those without are left out and named."""
    if not any(e.condition for group in examples.values() for e in group):
        return examples, ()
    half = tuple(e.name for group in examples.values() for e in group if not e.condition)
    return {s: tuple(e for e in group if e.condition) for s, group in examples.items()}, half


def content_key(root: Path, examples: Sequence[Example]) -> str:
    """A name for the content of a folder: file names and sizes, wherever it lies."""
    digest = hashlib.blake2b(digest_size=10)
    known: dict[str, int] = {}
    for example in examples:
        for one in (example.target, example.condition):
            if one is None:
                continue
            if one.path not in known:
                file = Path(one.path)
                known[one.path] = file.stat().st_size if file.is_file() else 0
            name = one.path.removeprefix(str(root))
            digest.update(f"{name}|{one.part}|{known[one.path]}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _condition(found: Found, sources: Sequence[Source]) -> tuple[ConditionKind, labelmaps.Labels | None]:
    if not sources:
        return "none", None
    given, wanted = found.sides or ("", "")
    if sides_of.names_drawings(given):
        return "picture", None
    named = sides_of.names_labels(given)
    if labelmaps.find(layouts.looks(evenly(sources, SAMPLE)), named=named) is None:
        return "picture", None
    labels = labelmaps.find(layouts.looks(evenly(sources, LABEL_SAMPLE)), named=named)
    if labels is None:
        return "picture", None
    if labels.palette is None:
        labels = labelmaps.with_file_palette(labels, sources[0])
    return "labels", labels


def _depth(sources: Sequence[Source]) -> tuple[int, int]:
    """(1 when the sampled pictures are grey throughout else 3, 16 when one has 16 bits else 8)."""

    def look(one: Source) -> tuple[bool, int] | None:
        try:
            array = source.read(one, at_least=64)
        except RedraftError:
            return None
        return bool((array == array[..., :1]).all()), array.dtype.itemsize * 8

    with ThreadPoolExecutor(4) as pool:
        seen = [s for s in pool.map(look, evenly(sources, SAMPLE)) if s]
    grey = bool(seen) and all(g for g, _ in seen)
    return 1 if grey else 3, max((b for _, b in seen), default=8)


def _with_sentence(folder: Folder, found: Found, labels: labelmaps.Labels | None) -> Folder:
    parts = [f"{found.words}; {' and '.join(_counts(g) for g in (folder.given, folder.examples) if g)}"]
    parts[0] += " (split made here)" if folder.made_split else ""
    if labels:
        colours = "indices" if labels.palette is None else "colours"
        parts.append(f"conditions are label maps of {labels.classes} {colours}")
        if labels.moved:
            parts.append(
                f"{labels.moved:.1%} of their pixels are moved to the palette, as compression damaged them"
            )
    elif folder.condition_kind == "picture":
        parts.append(f"conditions are pictures in {_colour(folder.condition_channels)}")
    if folder.categories:
        parts.append(f"{len(folder.categories)} categories")
    if folder.has_captions:
        parts.append("captions")
    parts.append(f"targets in {_colour(folder.channels)}" + (" of 16 bits" if folder.bits == 16 else ""))
    return replace(folder, understood=f"{folder.root}: {', '.join(parts)}.")


def _counts(examples: dict[str, tuple[Example, ...]]) -> str:
    return f"{len(examples['train'])} to train, {len(examples['test'])} to test"


def _colour(channels: int) -> str:
    return "grey" if channels == 1 else "colour"
