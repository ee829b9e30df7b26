"""Exact copies among pictures, found by size first and by hash where sizes agree."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from redraft.core.errors import RedraftError
from redraft.data import source
from redraft.data.folder import Folder
from redraft.data.source import Source

HASHED_WHOLE = 4_000_000_000  # bytes of files of equal size that are hashed whole; beyond, their ends
ENDS = 65_536


def copies(folder: Folder) -> tuple[list[Source], int]:
    """(test targets that are training targets too, training targets that repeat another)."""
    train = [e.target for e in folder.every("train")]
    test = [e.target for e in folder.every("test")]
    digest = digests([*train, *test])
    groups = _grouped(train, digest)
    shared = [one for one in test if digest.get(one) and digest[one] in groups]
    return shared, sum(len(group) - 1 for group in groups.values())


def digests(sources: Sequence[Source]) -> dict[Source, bytes]:
    """A hash of each picture that may have a copy among the others; b"" where it cannot be read."""
    lengths = {one: _length(one) for one in sources}
    frequent = Counter(lengths.values())
    alike = [one for one in sources if frequent[lengths[one]] > 1]  # others cannot have a copy
    whole = sum(max(0, lengths[one]) for one in alike) <= HASHED_WHOLE
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        return dict(zip(alike, pool.map(lambda one: _digest(one, whole), alike), strict=True))


def _grouped(sources: Sequence[Source], digest: dict[Source, bytes]) -> dict[bytes, list[Source]]:
    groups: dict[bytes, list[Source]] = defaultdict(list)
    for one in sources:
        if digest.get(one):
            groups[digest[one]].append(one)
    return groups


def _length(one: Source) -> int:
    """Bytes of the file; rows of arrays are all alike."""
    if one.row is not None:
        return -1
    try:
        return source.member_size(one) if one.member else os.path.getsize(one.path)
    except (OSError, RedraftError):
        return -2


def _digest(one: Source, whole: bool) -> bytes:
    """blake2b of a picture's bytes, or of its two ends when there is too much to read; b"" on failure."""
    digest = hashlib.blake2b(one.half.encode(), digest_size=16)
    try:
        if source.is_stored(one):
            digest.update(np.ascontiguousarray(source.read(one)).tobytes())
            return digest.digest()
        file = source.content(one)
        with open(file, "rb") if isinstance(file, str) else file as opened:
            if whole:
                digest.update(opened.read())
            else:
                digest.update(opened.read(ENDS))
                opened.seek(max(0, opened.seek(0, os.SEEK_END) - ENDS))
                digest.update(opened.read(ENDS))
    except (OSError, RedraftError):
        return b""
    return digest.digest()
