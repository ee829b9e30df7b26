"""Pictures decoded once into memory-mapped arrays, whole or not there, whoever is killed meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from redraft.core.errors import DataError, OutOfSpace, RedraftError, UsageError
from redraft.core.images import MOST_PIXELS, saving
from redraft.data import decode
from redraft.data.folder import Example, Folder
from redraft.data.home import cache_home, refuse_unwritable

LAYOUT = 1  # of the files below; another number is another cache
CHUNK = 64  # pictures decoded ahead of the writer
ABANDONED = 24 * 3600  # seconds after which a half-made folder is nobody's


@dataclass(frozen=True)
class Store:
    """The examples of one split, in the folder's order.

    ``target``     [M, C, S, S] uint8 or uint16, S = size + margin
    ``condition``  [M, Cc, S, S] uint8 (picture), [M, 2S, 2S] uint8 (label indices), or None;
                   where ``paired`` is False pictures [M', Cc, S, S] of their own number and order
    ``category``   [M] int64, or None where some have none
    ``skipped``    one sentence for each picture that could not be read
    ``moved``      share of the labels' pixels that were moved to the palette
    ``captions``   one a row ("" where it has none), or () where no picture of the split has one
    """

    target: np.ndarray
    condition: np.ndarray | None
    category: np.ndarray | None
    names: tuple[str, ...]
    margin: int = 0
    skipped: tuple[str, ...] = ()
    moved: float = 0.0
    paired: bool = True
    captions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class _Plan:
    """What is to be made of each example, and nothing that does not change it."""

    size: int
    channels: int
    margin: int
    labels: bool
    condition_channels: int
    bits: int
    palette: tuple[tuple[int, int, int], ...] | None
    classes: int

    @property
    def side(self) -> int:
        return self.size + self.margin


class Cache:
    """Stores under one folder, by default the user's cache folder (``$REDRAFT_CACHE``)."""

    def __init__(self, home: str | Path | None = None) -> None:
        self.home = Path(home) if home else cache_home()

    def build(
        self,
        folder: Folder,
        split: str,
        *,
        size: int,
        channels: int | None = None,
        margin: int = 0,
        labels: bool | None = None,
    ) -> Store:
        """The split's pictures as arrays, taken from the cache or decoded now.

        ``size`` (px) is what will be cropped out of size + margin; ``channels`` is the targets' (the
        folder's own when None); ``labels`` whether conditions are label maps (as the folder says when
        None). Two processes may build the same at once. Raises DataError when nothing can be read,
        OutOfSpace when the disk is full; neither leaves anything behind.
        """
        if size < 1 or margin < 0 or (size + margin) ** 2 > MOST_PIXELS:
            raise UsageError(f"Pictures of {size} px cannot be made: choose a size from 8 to 1024.")
        labels = folder.condition_kind == "labels" if labels is None else labels
        plan = _Plan(
            size=size,
            channels=channels or folder.channels,
            margin=margin,
            labels=labels,
            condition_channels=folder.condition_channels,
            bits=folder.bits,
            palette=folder.palette,
            classes=folder.classes,
        )
        sides = [folder.examples, folder.given] if folder.unpaired else [folder.examples]
        if not all(side.get(split) for side in sides):
            raise DataError(f"{folder.root} has no pictures in its {split} split.")
        store = self._store(folder.examples[split], plan)
        if not folder.unpaired:
            return store
        alone = replace(plan, channels=plan.condition_channels, bits=8)
        given = self._store(folder.given[split], alone)
        return replace(store, condition=given.target, skipped=store.skipped + given.skipped, paired=False)

    def _store(self, examples: Sequence[Example], plan: _Plan) -> Store:
        place = self.home / "pictures" / _key(examples, plan)
        found = _load(place, plan.margin)
        if found is None:
            self._make(place, examples, plan)
            found = _load(place, plan.margin)
        if found is None:
            raise DataError(f"The cache in {self.home} cannot be read back: remove it and try again.")
        store, left_out = found
        return replace(store, captions=_captions(examples, left_out))

    def _make(self, place: Path, examples: Sequence[Example], plan: _Plan) -> None:
        refuse_unwritable(self.home)
        with saving(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            _sweep(place.parent)
            _refuse_too_little_space(place.parent, examples, plan)
            temporary = place.parent / f".{place.name}.{os.getpid()}.{secrets.token_hex(4)}"
            temporary.mkdir()
            try:
                _write(temporary, examples, plan)
                _publish(temporary, place)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)


def build(
    folder: Folder,
    split: str,
    *,
    size: int,
    channels: int | None = None,
    margin: int = 0,
    labels: bool | None = None,
) -> Store:
    """``Cache.build`` in the user's cache folder."""
    return Cache().build(folder, split, size=size, channels=channels, margin=margin, labels=labels)


def _write(where: Path, examples: Sequence[Example], plan: _Plan) -> None:
    conditions = examples[0].condition is not None
    kept, skipped, left_out, moved = [], [], [], 0
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(_Rows(where / "target.npy"))
        condition = stack.enter_context(_Rows(where / "condition.npy")) if conditions else None
        for i, (example, made) in enumerate(_decoded(examples, plan)):
            if isinstance(made, RedraftError):
                skipped.append(f"{example.name}: {made}")
                left_out.append(i)
                continue
            target.append(made.target)
            if condition is not None and made.condition is not None:
                condition.append(made.condition)
            moved += made.moved
            kept.append(example)
    if not kept:
        raise DataError(f"None of the {len(examples)} pictures can be read; the first: {skipped[0]}")
    facts = {
        "names": [e.name for e in kept],
        "category": None if any(e.category is None for e in kept) else [e.category for e in kept],
        "skipped": skipped,
        "left_out": left_out,
        "moved": moved / (len(kept) * 4 * plan.side**2),
    }
    _save(where / "facts.json", json.dumps(facts).encode("utf-8", "surrogatepass"))


def _decoded(
    examples: Sequence[Example], plan: _Plan
) -> Iterator[tuple[Example, decode.Decoded | RedraftError]]:
    """Every example decoded by a few threads (Pillow and zlib let go of the interpreter), in order."""

    def one(example: Example) -> decode.Decoded | RedraftError:
        try:
            return decode.example(
                example,
                plan.side,
                plan.channels,
                plan.condition_channels,
                labels=(plan.palette, plan.classes) if plan.labels else None,
                bits=plan.bits,
            )
        except RedraftError as unreadable:
            return unreadable

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(examples), CHUNK):
            chunk = examples[start : start + CHUNK]
            yield from zip(chunk, pool.map(one, chunk), strict=True)


class _Rows:
    """An .npy file that grows by rows: written, not mapped, so that a full disk is an error and no crash."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self.file: IO[bytes] | None = None
        self.shape: tuple[int, ...] = ()
        self.dtype = np.dtype(np.uint8)

    def __enter__(self) -> _Rows:
        self.file = open(self.path, "wb")  # noqa: SIM115 - closed in __exit__
        return self

    def append(self, row: np.ndarray) -> None:
        assert self.file is not None
        if not self.rows:
            self.shape, self.dtype = row.shape, row.dtype
            self._header()
        self.file.write(np.ascontiguousarray(row).data)
        self.rows += 1

    def _header(self) -> None:
        assert self.file is not None
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(  # its length does not depend on the number of rows
            self.file,
            {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, *self.shape)},
        )

    def __exit__(self, kind: object, *_: object) -> None:
        assert self.file is not None
        try:
            if kind is None:
                self._header()
                self.file.flush()
                os.fsync(self.file.fileno())
        finally:
            self.file.close()


def _save(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _publish(temporary: Path, place: Path) -> None:
    """One rename makes the folder appear whole; where another process was first, its work is taken."""
    try:
        os.rename(temporary, place)
    except OSError:
        if _load(place, 0) is None:  # what lies there is damaged: out of the way, and again
            shutil.rmtree(place, ignore_errors=True)
            os.rename(temporary, place)


def _load(place: Path, margin: int) -> tuple[Store, frozenset[int]] | None:
    """A whole store and which examples are not in it, or None; a file too short for its header maps not."""
    try:
        facts = json.loads((place / "facts.json").read_bytes())
        target = np.load(place / "target.npy", mmap_mode="r", allow_pickle=False)
        file = place / "condition.npy"
        condition = np.load(file, mmap_mode="r", allow_pickle=False) if file.exists() else None
        category = facts["category"]
        names = tuple(facts["names"])
        if len(target) != len(names) or (condition is not None and len(condition) != len(names)):
            return None
        left_out = frozenset(facts["left_out"] if facts["skipped"] else ())
    except (OSError, ValueError, KeyError):
        return None
    numbers = None if category is None else np.array(category, np.int64)
    store = Store(target, condition, numbers, names, margin, tuple(facts["skipped"]), facts["moved"])
    return store, left_out


def _captions(examples: Sequence[Example], left_out: frozenset[int]) -> tuple[str, ...]:
    """Read anew each time: mending a caption decodes no picture again."""
    if not any(e.caption for e in examples):
        return ()
    return tuple(e.caption or "" for i, e in enumerate(examples) if i not in left_out)


def _key(examples: Sequence[Example], plan: _Plan) -> str:
    """Names, sizes and times of the files, what is known of each, and the plan."""
    digest = hashlib.blake2b(repr((LAYOUT, plan)).encode(), digest_size=16)
    known: dict[str, str] = {}
    for example in examples:
        for one in (example.target, example.condition):
            if one is not None and one.path not in known:
                try:
                    status = os.stat(one.path)
                    known[one.path] = f"{status.st_size}/{status.st_mtime_ns}"
                except OSError:
                    known[one.path] = "missing"
                digest.update(f"{one.path}|{known[one.path]}\n".encode("utf-8", "surrogateescape"))
        parts = (example.name, example.target.part, example.condition, example.category)
        digest.update(repr(parts).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _refuse_too_little_space(where: Path, examples: Sequence[Example], plan: _Plan) -> None:
    pixels = plan.side**2
    each = pixels * plan.channels * plan.bits // 8
    if examples[0].condition is not None:
        each += 4 * pixels if plan.labels else pixels * plan.condition_channels
    needed, free = each * len(examples), shutil.disk_usage(where).free
    if needed > free:
        raise OutOfSpace(
            f"{len(examples)} pictures of {plan.side} px need {_amount(needed)} in {where}, where "
            f"{_amount(free)} are free: free some, set REDRAFT_CACHE to another disk, or choose a "
            "smaller size."
        )


def _amount(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _sweep(where: Path) -> None:
    """Remove what killed writers left long ago."""
    for left in where.glob(".*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
