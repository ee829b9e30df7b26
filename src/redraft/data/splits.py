"""The test split, drawn and remembered when a folder brings none; a share of the training split."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from redraft.core import images
from redraft.core.errors import RedraftError
from redraft.data.copies import digests
from redraft.data.folder import Example, Folder
from redraft.data.home import cache_home

MOST_TEST = 1000


def make_split(examples: Sequence[Example], key: str, seed: int) -> dict[str, tuple[Example, ...]]:
    """{"train", "test"}: test gets a tenth, 2 (of 12 or more) to 1,000, evenly from every category.

    Exact copies of a test picture go with it, so that what is judged was not trained on.

    A picture's place depends on its name and the seed alone, so adding pictures moves few; what was
    drawn is stored under the folder's ``key`` and holds for as long as the folder is the same.
    """
    file = cache_home() / "splits" / f"{key}-{seed}.json"
    names = {e.name for e in examples}
    try:
        test = set(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError):
        test = set()
    if not test or not test <= names:
        test = _with_copies(examples, _draw(examples, seed))
        with contextlib.suppress(RedraftError, OSError):  # nowhere to remember it? The draw gives the same
            images.save(file, json.dumps(sorted(test)).encode())
    return {
        "train": tuple(e for e in examples if e.name not in test),
        "test": tuple(e for e in examples if e.name in test),
    }


def shared(folder: Folder, share: float) -> Folder:
    """The folder with a ``share`` (above 0, at most 1) of its training pictures; two at least, if there are.

    They are drawn by name, evenly from every category, and no seed changes that: what a smaller share has a
    larger one has, too. Of sides without pairs each keeps its share.
    """
    if share >= 1:
        return folder
    examples, given = (
        split | {"train": _some(split["train"], share)} if split else split
        for split in (folder.examples, folder.given)
    )
    return replace(folder, examples=examples, given=given)


def _some(examples: Sequence[Example], share: float) -> tuple[Example, ...]:
    kept = set(_ranked(examples, "share")[: max(2, round(share * len(examples)))])
    return tuple(e for e in examples if e.name in kept)


def _draw(examples: Sequence[Example], seed: int) -> set[str]:
    if len(examples) < 2:
        return set()
    few = 2 if len(examples) >= 12 else 1  # measures take two pictures
    count = max(few, min(MOST_TEST, len(examples) // 10))
    return set(_ranked(examples, seed)[:count])


def _ranked(examples: Sequence[Example], salt: int | str) -> list[str]:
    """The names in an order of their own, in which every category is spread evenly."""
    shuffled = sorted(examples, key=lambda e: _hash(f"{salt}/{e.name}"))
    sizes = Counter(e.category for e in examples)
    met: Counter[int | None] = Counter()
    ranked = []
    for place, example in enumerate(shuffled):  # the first of each category, then the second, ...
        ranked.append(((met[example.category] + 0.5) / sizes[example.category], place, example.name))
        met[example.category] += 1
    return [name for _, _, name in sorted(ranked)]


def _with_copies(examples: Sequence[Example], test: set[str]) -> set[str]:
    """The test pictures and their copies; without these where they are most of the folder."""
    digest = digests([e.target for e in examples])
    seen = {digest.get(e.target, b"") for e in examples if e.name in test} - {b""}
    more = test | {e.name for e in examples if digest.get(e.target) in seen}
    return more if 2 * len(more) <= len(examples) else test


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
