"""Is a folder fit to train on? Headers and hashes only, so that 100,000 files take under a minute."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple

from redraft.core import images
from redraft.core.errors import RedraftError
from redraft.data import captions, labelmaps, source
from redraft.data.copies import copies
from redraft.data.folder import SPLITS, Example, Folder
from redraft.data.source import Source

Severity = Literal["error", "warning", "note"]
FEW = 100  # training pictures below which a model learns them by heart
LABEL_SAMPLE = 100  # label maps whose values are looked at


class Finding(NamedTuple):
    """One thing that ``check`` has to say."""

    severity: Severity
    sentence: str


@dataclass(frozen=True)
class Report:
    """What ``redraft data check`` prints: the folder, its counts and sizes, findings, and what suits."""

    folder: Folder
    counts: dict[str, int]
    sizes: dict[tuple[int, int], int]  # (width, height) of targets -> how many
    findings: tuple[Finding, ...]
    suits: tuple[str, ...]

    @property
    def fatal(self) -> bool:
        """Whether training would go wrong."""
        return any(f.severity == "error" for f in self.findings)

    def lines(self) -> list[str]:
        """The report as lines of text, worst findings first."""
        counts = ", ".join(f"{count} to {split}" for split, count in self.counts.items())
        lines = [
            self.folder.understood,
            f"Layout: {self.folder.layout}. Pictures: {counts}. {_sizes(self.sizes)}",
        ]
        for severity in ("error", "warning", "note"):
            lines += [f"{severity}: {f.sentence}" for f in self.findings if f.severity == severity]
        return [*lines, *self.suits]


class _Header(NamedTuple):
    """What a file's first bytes say; ``fault`` is the sentence when they say nothing."""

    width: int = 0
    height: int = 0
    colour: bool = False
    fault: str = ""


def check(folder: Folder, *, size: int | None = None) -> Report:
    """Look at every file's header, and at the bytes of files that may be the same.

    ``size`` (px): the training size, when it is known, so that upscaling is noticed.
    """
    sides = [s for s in (folder.examples, folder.given) if s]
    listed = [[e for split in SPLITS for e in side.get(split, ())] for side in sides]
    examples = [e for side in listed for e in side]
    headers = _headers(folder, examples)
    good = [h for h in (headers.get(e.target) for e in listed[0]) if h and not h.fault]
    sizes = Counter((h.width, h.height) for h in good)
    findings = [
        *_about_number(folder),
        *_about_unpaired(folder),
        *(finding for side in listed for finding in _about_faults(side, headers)),
        *_about_pairs(folder, examples, headers),
        *_about_sizes(sizes, size),
        *_about_colour(folder, good),
        *_about_labels(folder, examples),
        *_about_copies(folder),
        *_about_categories(folder),
        *(Finding(*found) for found in captions.about(folder)),
    ]
    findings += [Finding("warning", note) for note in folder.notes]
    counts = {s: len(folder.examples.get(s, ())) for s in SPLITS}
    fatal = any(f.severity == "error" for f in findings)
    return Report(folder, counts, dict(sizes), tuple(findings), () if fatal else suits(folder))


def suits(folder: Folder) -> tuple[str, ...]:
    """Which methods and tasks fit the folder, in words."""
    train = len(folder.examples["train"])
    alone = ["recover", "upscale", *(["colour"] if folder.channels == 3 else []), "edges"]
    made = f"conditions made from the pictures themselves (--task {', '.join(alone)})"
    lines = []
    if folder.unpaired:
        return (
            f"Suits cut with --task unpaired: {len(folder.given['train'])} given and {train} wanted training "
            "pictures, which are not pairs.",
            f"The wanted pictures alone: coopnets (--task none), {train} training pictures.",
        )
    if folder.condition_kind == "labels":
        lines.append(f"Suits ccoopnets with --task labels: {train} pairs of label map and picture.")
    elif folder.condition_kind == "picture":
        task = "edges" if folder.condition_channels == 1 else "pairs"
        lines.append(f"Suits ccoopnets with --task {task}: {train} pairs of given and wanted picture.")
    if len(folder.categories) > 1:
        each = train / len(folder.categories)
        lines.append(
            f"Suits ccoopnets with --task category: {len(folder.categories)} categories, "
            f"{each:.0f} training pictures each on average."
        )
    if folder.has_captions:
        told = sum(map(captions.has_caption, folder.examples["train"]))
        lines.append(f"Suits fusion with --task text: {told} training pictures with captions.")
    lines.append(f"Suits ccoopnets with {made}: {train} training pictures.")
    lines.append(f"Pictures alone: coopnets (--task none), {train} training pictures.")
    return tuple(lines)


def _headers(folder: Folder, examples: Sequence[Example]) -> dict[Source, _Header]:
    """One look at every picture; the halves of a file share theirs, rows of an array need none."""
    found: dict[Source, _Header] = {}
    whole: dict[Source, list[Source]] = defaultdict(list)
    for example in examples:
        for one in (example.target, example.condition):
            if one is None:
                continue
            if source.is_stored(one):
                height, width = source.read(one).shape[:2]
                found[one] = _Header(width, height, folder.channels == 3)
            else:
                whole[Source(one.path, one.member) if one.half else one].append(one)
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        for file, header in zip(whole, pool.map(_header, whole, chunksize=64), strict=True):
            for one in whole[file]:
                found[one] = header._replace(width=header.width // 2) if one.half else header
    return found


def _header(one: Source) -> _Header:
    try:
        file = source.content(one)
        with images.opened(file) as picture:
            (width, height), mode, kind = picture.size, picture.mode, picture.format
            if picture.getexif().get(0x0112, 1) >= 5 if kind in ("JPEG", "MPO", "TIFF", "WEBP") else False:
                width, height = height, width
        if kind in ("JPEG", "PNG") and _is_cut(file, kind):
            return _Header(fault=f"{one} is cut short: its end is missing.")
        return _Header(width, height, mode not in ("1", "L", "LA", "I", "F", "I;16", "I;16B"))
    except RedraftError as unreadable:
        return _Header(fault=str(unreadable))


def _is_cut(file: object, kind: str) -> bool:
    """Whether the mark that ends a PNG or JPEG is missing from its last bytes."""
    if isinstance(file, str):
        with open(file, "rb") as opened:
            opened.seek(max(0, os.path.getsize(file) - 4096))
            end = opened.read()
    else:
        end = file.getvalue()[-4096:]  # type: ignore[attr-defined]
    return (b"IEND" if kind == "PNG" else b"\xff\xd9") not in end


def _about_number(folder: Folder) -> Iterator[Finding]:
    train, test = (len(folder.examples.get(s, ())) for s in SPLITS)
    if train < 2:
        yield Finding(
            "error", f"There is too little to learn from: training pictures: {train}; give at least 2."
        )
    elif train < FEW:
        yield Finding(
            "warning",
            f"Training pictures are few ({train}): a model learns them by heart. Add pictures if you can, "
            "and look at the nearest training pictures in the report.",
        )
    if not test:
        yield Finding("warning", "There is no test picture, so nothing can be measured on pictures not seen.")
    elif folder.made_split:
        yield Finding(
            "note",
            f"No test split was found: {test} of {train + test} pictures are drawn for it by seed.",
        )
    if 0 < test < 10:
        yield Finding("note", f"Test pictures: {test}, so measures say little.")


def _about_unpaired(folder: Folder) -> Iterator[Finding]:
    if not folder.unpaired:
        return
    (given, unseen), (wanted, _) = (
        [len(side.get(s, ())) for s in SPLITS] for side in (folder.given, folder.examples)
    )
    if given < 2:
        yield Finding(
            "error", f"There is too little to start from: given pictures to train: {given}; give at least 2."
        )
    elif given < FEW:
        yield Finding("warning", f"Given pictures to train are few ({given}).")
    if not unseen:
        yield Finding(
            "warning", "There is no given test picture, so nothing can be measured on pictures not seen."
        )
    if max(given, wanted) > 10 * min(given, wanted):
        yield Finding(
            "warning",
            f"The two sides differ much in number ({given} given, {wanted} wanted): the smaller one is seen "
            f"{max(given, wanted) // max(1, min(given, wanted))} times as often and may be learned by heart.",
        )


def _about_faults(examples: Sequence[Example], headers: dict[Source, _Header]) -> Iterator[Finding]:
    bad = [e for e in examples if any(s and headers[s].fault for s in (e.target, e.condition))]
    if not bad:
        return
    first = next(headers[s].fault for s in (bad[0].target, bad[0].condition) if s and headers[s].fault)
    if len(bad) == len(examples):
        yield Finding("error", f"None of the {len(bad)} pictures can be read; the first: {first}")
    else:
        severity: Severity = "error" if len(bad) > len(examples) / 2 else "warning"
        yield Finding(
            severity,
            f"{len(bad)} of {len(examples)} examples left out, as they cannot be read; the first: {first}",
        )


def _about_pairs(
    folder: Folder, examples: Sequence[Example], headers: dict[Source, _Header]
) -> Iterator[Finding]:
    if folder.unmatched:
        few = ", ".join(folder.unmatched[:3])
        severity: Severity = "error" if len(folder.unmatched) > 2 * len(examples) else "warning"
        hint = "; if the folders are no pairs: --task unpaired" if folder.layout == "two folders" else ""
        yield Finding(
            severity,
            f"Without a partner and left out: {len(folder.unmatched)} pictures, such as {few}{hint}.",
        )
    pairs = [(e, headers[e.target], headers[e.condition]) for e in examples if e.condition]
    pairs = [(e, t, c) for e, t, c in pairs if not t.fault and not c.fault]
    other = [e.name for e, t, c in pairs if (t.width, t.height) != (c.width, c.height)]
    if other:
        yield Finding(
            "note",
            f"In {_pairs(other)} the two sides differ in size, such as {other[0]}: the given side is laid "
            "over the frame of the wanted one.",
        )
    skewed = [e.name for e, t, c in pairs if abs(t.width * c.height / (t.height * c.width) - 1) > 0.05]
    if skewed:
        yield Finding(
            "warning",
            f"In {_pairs(skewed)} the two sides differ in shape, such as {skewed[0]}: do they show the same?",
        )


def _about_sizes(sizes: Counter[tuple[int, int]], size: int | None) -> Iterator[Finding]:
    oblong = sum(n for (w, h), n in sizes.items() if w != h)
    if oblong:
        yield Finding(
            "note",
            f"{_of(oblong, 'picture')} not square: the short side is resized and the middle square is kept.",
        )
    small = sum(n for (w, h), n in sizes.items() if size and min(w, h) < size)
    if small:
        yield Finding(
            "warning",
            f"{_of(small, 'picture')} smaller than {size} px and would be blown up: lower --size.",
        )
    tiny = sum(n for (w, h), n in sizes.items() if min(w, h) < 8)
    if tiny:
        severity: Severity = "error" if tiny == sizes.total() else "warning"
        yield Finding(severity, f"{_of(tiny, 'picture')} smaller than 8 px: too small to learn from.")


def _about_colour(folder: Folder, good: Sequence[_Header]) -> Iterator[Finding]:
    colour = sum(h.colour for h in good)
    if folder.channels == 1 and 0 < colour < len(good):
        yield Finding("note", f"{_of(colour, 'file')} stored in colour; all are learned as grey.")
    elif folder.channels == 3 and 0 < len(good) - colour < len(good):
        yield Finding(
            "note",
            f"{_of(len(good) - colour, 'picture')} grey among coloured ones; all are learned as colour.",
        )


def _about_labels(folder: Folder, examples: Sequence[Example]) -> Iterator[Finding]:
    if folder.condition_kind != "labels":
        return
    conditions = [e.condition for e in examples if e.condition]
    step = max(1, len(conditions) // LABEL_SAMPLE)
    moved = total = 0
    strange, first = 0, ""
    for one in conditions[::step]:
        try:
            labels = source.read_labels(one)
        except RedraftError:
            continue
        _, odd = labelmaps.indices(labels, folder.palette, folder.classes)
        moved, total = moved + odd, total + labels.shape[0] * labels.shape[1]
        foreign = labelmaps.far(labels, folder.palette, folder.classes) > 0.02 or (
            folder.palette is None and odd > 0
        )
        strange, first = strange + foreign, first or (str(one) if foreign else "")
    if strange:
        yield Finding("warning", f"Values outside the palette in {strange} label maps, such as {first}.")
    if moved:
        share = f"{moved / total:.2%}" if moved / total >= 1e-4 else "under 0.01%"
        yield Finding(
            "note",
            f"{moved} label pixels of the {total} looked at ({share}) are not in the palette of "
            f"{folder.classes} and move to the nearest colour.",
        )


def _about_copies(folder: Folder) -> Iterator[Finding]:
    """Equal pictures in both splits make a test that has been seen; several equal ones weigh double."""
    shared, again = copies(folder)
    if shared:
        severity: Severity = "error" if len(shared) > len(folder.examples["test"]) / 2 else "warning"
        yield Finding(
            severity,
            f"{_of(len(shared), 'test picture')} also among the training pictures, such as {shared[0]}: "
            "measures would flatter; remove them from one side.",
        )
    if again:
        yield Finding("note", f"{_of(again, 'training picture')} the exact copy of another.")


def _about_categories(folder: Folder) -> Iterator[Finding]:
    if not folder.categories:
        return
    train = Counter(e.category for e in folder.examples["train"])
    missing = [c for i, c in enumerate(folder.categories) if not train[i]]
    if missing:
        yield Finding(
            "warning", f"Categories without a training picture: {len(missing)}, such as {missing[0]}."
        )
    most, least = max(train.values()), min(train.values())
    if most > 10 * least:
        rarest = folder.categories[min((n, c) for c, n in train.items() if c is not None)[1]]
        yield Finding(
            "note", f"Categories differ much in number ({least} to {most} pictures; fewest: {rarest})."
        )


def _sizes(sizes: dict[tuple[int, int], int]) -> str:
    if not sizes:
        return "No picture's size is known."
    if len(sizes) == 1:
        width, height = next(iter(sizes))
        return f"All are {width} x {height} px."
    widths, heights = [w for w, _ in sizes], [h for _, h in sizes]
    (width, height), count = max(sizes.items(), key=lambda item: item[1])
    return (
        f"{len(sizes)} sizes, {min(widths)} to {max(widths)} px wide, {min(heights)} to {max(heights)} high; "
        f"most often {width} x {height} ({count})."
    )


def _of(count: int, thing: str) -> str:
    return f"1 {thing} is" if count == 1 else f"{count} {thing}s are"


def _pairs(names: Sequence[str]) -> str:
    return "1 pair" if len(names) == 1 else f"{len(names)} pairs"
