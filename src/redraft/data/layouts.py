"""The layouts that folders of pictures have; a reader says what it found, or None where it is not its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from redraft.core import images
from redraft.core.errors import Ambiguous, DataError, RedraftError, UsageError
from redraft.data import direction as sides_of
from redraft.data import labelmaps, source
from redraft.data.folder import Example
from redraft.data.naming import Place, matched, places
from redraft.data.scan import Tree
from redraft.data.source import LOSSY, Source

Splits = dict[str, list[Example]]  # "train", "test", "validation" or "" (none said) -> examples


@dataclass(frozen=True)
class Found:
    """A layout as read from names; what the pictures hold is looked at later."""

    layout: str
    words: str  # goes on after "350 training and 28 test pictures: "
    splits: Splits
    categories: tuple[str, ...] = ()
    sides: tuple[str, str] | None = None  # names of the condition's and of the target's side
    given: Splits = field(default_factory=dict)  # two sides without pairs: pictures of the given side
    unmatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def in_folders(tree: Tree, direction: str | None, unpaired: bool = False) -> Found:
    """Pictures in folders: pairs, classes, side-by-side, or just pictures; the rest as for ``recognise``."""
    found = places(tree.pictures)
    by_top: dict[str, list[Place]] = defaultdict(list)
    for place in found:
        by_top[place.group[0] if place.group else ""].append(place)
    notes: tuple[str, ...] = ()
    if "" in by_top and len(by_top) > 1:
        loose = by_top.pop("")
        notes = (
            f"{len(loose)} pictures lie beside the folders, such as {loose[0].name}; they are left out.",
        )
        found = [p for members in by_top.values() for p in members]
    if list(by_top) == [""]:
        result = _flat(tree, dict(by_top), direction)
    else:
        result = _folders(tree, dict(by_top), direction, unpaired)
    return replace(result, notes=result.notes + notes)


def _folders(tree: Tree, by_top: dict[str, list[Place]], direction: str | None, unpaired: bool) -> Found:
    if direction == "classes":
        return _classes(tree, by_top)
    sides = _pair_of_sides(by_top, direction)
    if sides:
        chosen = {s: by_top[s] for s in sides}
        if _overlap(chosen) >= 0.5:
            if unpaired and any(len(found) < 2 for found in matched(chosen).values()):
                return _unpaired(tree, chosen, direction)
            known = any(sides_of.role(s) for s in sides) or _are_a_and_b(sides)
            return _two_folders(tree, chosen, direction, or_classes=not known)
        if direction or _are_a_and_b(sides) or all(sides_of.role(s) for s in sides):
            return _unpaired(tree, chosen, direction)
    return _classes(tree, by_top)


def _pair_of_sides(by_top: dict[str, list[Place]], direction: str | None) -> tuple[str, str] | None:
    """The two folders that may be the sides of pairs; asks when there are more than two."""
    names = sorted(by_top)
    if len(names) == 2:
        return names[0], names[1]
    told = [n for n in names if direction and n.lower() in direction.lower().split(":")]
    if len(told) == 2:
        return told[0], told[1]
    given = [n for n in names if sides_of.role(n) == "condition"]
    wanted = [n for n in names if sides_of.role(n) == "target"]
    if not given or not wanted or _overlap({n: by_top[n] for n in given[:1] + wanted[:1]}) < 0.5:
        return None
    if len(given) == len(wanted) == 1:
        return given[0], wanted[0]
    answers = [f"--direction {g}:{w}" for g in given for w in wanted]
    raise Ambiguous("Which folder is given, and which is wanted?", answers)


def _are_a_and_b(sides: Sequence[str]) -> bool:
    return sorted(s.upper() for s in sides) == ["A", "B"]


def _overlap(sides: dict[str, list[Place]]) -> float:
    whole = sum(len(found) == len(sides) for found in matched(sides).values())
    return whole / max(1, min(map(len, sides.values())))


def _two_folders(
    tree: Tree, by_top: dict[str, list[Place]], direction: str | None, *, or_classes: bool
) -> Found:
    names = sorted(by_top)
    table = matched(by_top)
    sides = sides_of.choose((names[0], names[1]), direction, _looker(tree, by_top), or_classes=or_classes)
    return _pairs(tree, table, sides, "two folders", f"pairs from the folders {sides[0]} and {sides[1]}")


def _pairs(
    tree: Tree,
    table: dict[tuple[str, ...], dict[str, Place]],
    sides: tuple[str, str],
    layout: str,
    words: str,
) -> Found:
    given, wanted = sides
    splits: Splits = defaultdict(list)
    unmatched = []
    for found in table.values():
        if given in found and wanted in found:
            place = found[wanted]
            condition = tree.pictures[found[given].name]
            splits[place.split].append(Example(_stem(place.name), tree.pictures[place.name], condition))
        else:
            unmatched += [p.name for p in found.values()]
    return Found(layout, words, splits, sides=sides, unmatched=tuple(unmatched))


def _unpaired(tree: Tree, by_top: dict[str, list[Place]], direction: str | None) -> Found:
    names = sorted(by_top)
    given, wanted = names[0], names[1]
    if direction or not _are_a_and_b(names):  # A is given by custom
        given, wanted = sides_of.choose((given, wanted), direction, _looker(tree, by_top), or_classes=True)
    splits: dict[str, Splits] = {side: defaultdict(list) for side in names}
    for side, members in by_top.items():
        for p in members:
            splits[side][p.split].append(Example(_stem(p.name), tree.pictures[p.name]))
    words = f"two sides without pairs, {given} given and {wanted} wanted"
    return Found("unpaired sides", words, splits[wanted], sides=(given, wanted), given=splits[given])


def _classes(tree: Tree, by_top: dict[str, list[Place]]) -> Found:
    members = [p for group in by_top.values() for p in group]
    categories = tuple(sorted({"/".join(p.group) for p in members}, key=_in_order))
    number = {c: i for i, c in enumerate(categories)}
    splits: Splits = defaultdict(list)
    for p in members:
        category = number["/".join(p.group)]
        splits[p.split].append(Example(_stem(p.name), tree.pictures[p.name], category=category))
    return Found("class folders", f"folders of {len(categories)} categories", splits, categories)


def _in_order(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (10**9, name)  # 2 before 10


def _flat(tree: Tree, by_top: dict[str, list[Place]], direction: str | None) -> Found:
    members = by_top[""]
    for pairing in (_by_extension, _by_suffix):
        sides = pairing(members)
        if sides:
            names = sorted(sides)
            chosen = sides_of.choose((names[0], names[1]), direction, _looker(tree, sides))
            words = f"pairs of the same stem, {chosen[0]} and {chosen[1]}"
            return _pairs(tree, matched(sides), chosen, "same stems", words)
    if _side_by_side(tree, members):
        return _halves(tree, members, direction)
    if direction:
        raise UsageError(f"--direction {direction} has no meaning here: {tree.root} holds no pairs.")
    splits: Splits = defaultdict(list)
    for p in members:
        splits[p.split].append(Example(_stem(p.name), tree.pictures[p.name]))
    return Found("flat", "pictures alone", splits)


def _by_extension(members: list[Place]) -> dict[str, list[Place]] | None:
    sides: dict[str, list[Place]] = defaultdict(list)
    for p in members:
        sides[PurePosixPath(p.name).suffix.lower().lstrip(".")].append(p)
    return _whole_pairs(sides)


def _by_suffix(members: list[Place]) -> dict[str, list[Place]] | None:
    """ "0001_A.png" beside "0001_B.png", "0001_photo.png" beside "0001_sketch.png"."""
    sides: dict[str, list[Place]] = defaultdict(list)
    for p in members:
        last = p.stem.replace("-", "_").rpartition("_")[2]
        if last.upper() in ("A", "B") or sides_of.role(last):
            sides[last].append(p)
    return _whole_pairs(sides) if sum(map(len, sides.values())) >= 0.9 * len(members) else None


def _whole_pairs(sides: dict[str, list[Place]]) -> dict[str, list[Place]] | None:
    whole = len(sides) == 2 and _overlap(sides) >= 0.9 and min(map(len, sides.values())) > 0
    return sides if whole else None


def _side_by_side(tree: Tree, members: list[Place]) -> bool:
    """Whether the pictures of a sample are all exactly twice as wide as high (and not unreadable)."""
    sizes = []
    for p in evenly(members, 16):
        try:
            with images.opened(source.content(tree.pictures[p.name])) as picture:
                sizes.append(picture.size)
        except RedraftError:
            continue
    return bool(sizes) and all(w == 2 * h for w, h in sizes)


def _halves(tree: Tree, members: list[Place], direction: str | None) -> Found:
    def look(half: str) -> labelmaps.Sample:
        return looks([tree.pictures[p.name].side(half) for p in evenly(members, 24)])

    given, wanted = sides_of.choose(("left", "right"), direction, look)
    splits: Splits = defaultdict(list)
    for p in members:
        whole = tree.pictures[p.name]
        splits[p.split].append(Example(_stem(p.name), whole.side(wanted), whole.side(given)))
    words = f"side-by-side pictures, the {given} half given, the {wanted} half wanted"
    return Found("side by side", words, splits, sides=(given, wanted))


def _looker(tree: Tree, sides: dict[str, list[Place]]) -> sides_of.Look:
    return lambda side: looks([tree.pictures[p.name] for p in evenly(sides[side], 24)])


def looks(sources: Sequence[Source]) -> labelmaps.Sample:
    """The readable ones among the pictures, as label maps would be read."""

    def look(one: Source) -> np.ndarray | None:
        try:
            return source.read_labels(one)
        except RedraftError:
            return None

    with ThreadPoolExecutor(4) as pool:
        maps = [array for array in pool.map(look, sources) if array is not None]
    lossy = sum((one.member or one.path).lower().endswith(LOSSY) for one in sources)
    return labelmaps.Sample(maps, lossy > len(sources) / 2)


def evenly(items: Sequence, count: int) -> list:  # type: ignore[type-arg]
    """At most ``count`` of the items, evenly spaced, the first among them."""
    step = max(1, len(items) / count)
    return [items[int(i * step)] for i in range(min(count, len(items)))]


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def in_idx(tree: Tree) -> Found | None:
    """MNIST's family: NAME-images-idx3-ubyte with NAME-labels-idx1-ubyte beside it, gzipped or not."""
    parts: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(tree.idx, key=lambda n: n.endswith(".gz"), reverse=True):
        lower = PurePosixPath(name).name.lower()
        for kind in ("images", "labels"):
            if kind in lower:
                parts[lower.partition(kind)[0].rstrip("-_.")][kind] = str(tree.root / name)
    if not any("images" in p for p in parts.values()):
        return None
    splits: Splits = defaultdict(list)
    notes, seen = [], 0
    for prefix, files in sorted(parts.items()):
        if "images" not in files:
            notes.append(f"{Path(files['labels']).name} has no pictures beside it and is left out.")
            continue
        pictures = source.idx(files["images"])
        if pictures.ndim != 4 or not len(pictures):
            raise DataError(f"{files['images']} holds no pictures: download it again.")
        labels = source.idx(files["labels"]) if "labels" in files else None
        if labels is not None and labels.shape != (len(pictures),):
            raise DataError(f"{files['labels']} holds {labels.size} labels for {len(pictures)} pictures.")
        split = "test" if prefix.startswith(("t10k", "test")) else "train" if "train" in prefix else ""
        for row in range(len(pictures)):
            category = None if labels is None else int(labels[row])
            where = Source(files["images"], f"#{row}")
            splits[split].append(Example(f"{prefix}/{row:05d}", where, category=category))
            seen = max(seen, -1 if category is None else category)
    return Found("idx", "an idx file of pictures", splits, _idx_names(tree, seen + 1), notes=tuple(notes))


FASHION = (
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def _idx_names(tree: Tree, count: int) -> tuple[str, ...]:
    if count == 10 and "fashion" in str(tree.root).lower():
        return FASHION
    return tuple(map(str, range(count)))
