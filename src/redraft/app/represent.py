"""What experts make of a split's pictures and conditions: computed once, kept in memory-mapped files."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from redraft.app.show import one_first, say
from redraft.core.config import to_dict
from redraft.core.errors import DataError
from redraft.core.images import saving
from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair
from redraft.data import Raw, Store, in_order
from redraft.data.home import cache_home
from redraft.recipes.run import Run
from redraft.spaces.bridge import Bridge
from redraft.spaces.sentence import Sentence
from redraft.tasks.recover import Recover

BATCH = 32  # pictures read together


@dataclass(frozen=True)
class Codes:
    """Representations as the experts make them, float16 [F, M, ...]: F = 2 where mirrored pictures are used.

    None where no expert stands, or where a task draws what is given anew each time (holes).
    """

    given: np.ndarray | None
    wanted: np.ndarray | None

    def see(self, bridge: Bridge, raw: Raw, pair: Pair) -> Pair:
        """What networks are given and are to make for a batch, whose raw sides ``pair`` holds."""
        device = pair.target.device
        if self.given is None:
            c = bridge.given(pair.condition)
        else:
            c = bridge.scaled_given(_rows(self.given, raw.given_rows, raw.given_mirrored).to(device))
        if self.wanted is None:
            return Pair(c, bridge.wanted(pair.target))
        return Pair(c, bridge.scaled(_rows(self.wanted, raw.rows, raw.mirrored).to(device)))

    def fit(self, bridge: Bridge) -> None:
        """Standardise by the training set; two sides of one space, of which none are pairs, by both."""
        given = None if self.given is None else _flat(self.given)
        wanted = None if self.wanted is None else _flat(self.wanted)
        if given is not None and wanted is not None and not bridge.raw.paired:
            given = wanted = torch.cat([given, wanted])
        bridge.fit(given, wanted)


def _flat(codes: np.ndarray, most: int = 20_000) -> Tensor:
    """Some of the codes [<= most, ...], evenly over the examples as they are."""
    return torch.from_numpy(codes[0, :: -(-codes.shape[1] // most)].astype(np.float32))


def _rows(codes: np.ndarray, rows: np.ndarray, mirrored: np.ndarray) -> Tensor:
    views = mirrored.astype(np.int64) * (len(codes) > 1)
    return torch.from_numpy(codes[views, rows].astype(np.float32))


def represent(data: Store, run: Run, bridge: Bridge, key: str, device: torch.device) -> Codes:
    """The codes of a store that ``key`` tells from others; from the cache, or computed now and kept."""
    views = 2 if run.reading.flip else 1
    given = wanted = None
    if bridge.condition is not None and not isinstance(run.task, Recover):
        name, of = run.condition.expert, _name(key, run, run.condition.fingerprint, "given", views)
        if bridge.raw.condition == "sentence":
            given = _kept(of, name, len(data.captions), lambda: _sentences(data, bridge))
        else:
            count = len(data) if data.condition is None else len(data.condition)
            given = _kept(of, name, count, lambda: _views(data, run, bridge, "given", views, device))
    if bridge.target is not None:
        of = _name(key, run, run.target.fingerprint, "wanted", views)
        draw = lambda: _views(data, run, bridge, "wanted", views, device)  # noqa: E731
        wanted = _kept(of, run.target.latent, len(data), draw)
    for side, codes in (("condition", given), ("target", wanted)):
        if codes is not None:
            _refuse_constant(side, codes)
    return Codes(given, wanted)


def _name(key: str, run: Run, fingerprint: str, side: str, views: int) -> Path:
    told = json.dumps([key, to_dict(run.task), run.task_name, run.reading.stretch, fingerprint, side, views])
    digest = hashlib.blake2b(told.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
    return cache_home() / "representations" / f"{digest}.npy"


def _kept(path: Path, expert: str, count: int, parts: Callable[[], Iterator[Tensor]]) -> np.ndarray:
    """The file's array, made first where it is not there: whole or not at all, by one process."""

    def make() -> None:
        if path.exists():
            return
        say(f"{expert} looks at {count} examples; what it makes of them is kept.")
        path.parent.mkdir(parents=True, exist_ok=True)
        half_made = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.npy")
        try:
            with saving(path):
                np.save(half_made, np.stack([view.numpy() for view in parts()]))
                os.replace(half_made, path)
        finally:
            half_made.unlink(missing_ok=True)

    one_first(make)
    return np.load(path, mmap_mode="r")


def _sentences(data: Store, bridge: Bridge) -> Iterator[Tensor]:
    """One view: the caption of each example, each wording read once."""
    distinct = list(dict.fromkeys(data.captions))
    codes = bridge.see(Sentence().encode(distinct)).half()
    place = {words: i for i, words in enumerate(distinct)}
    yield codes[[place[words] for words in data.captions]]


def _views(
    data: Store, run: Run, bridge: Bridge, side: str, views: int, device: torch.device
) -> Iterator[Tensor]:
    """What the expert of a side makes of all its pictures, first as they are, then mirrored."""
    swap = side == "given" and not data.paired and data.condition is not None
    if (
        swap and data.condition is not None
    ):  # rows of its own: it takes the wanted one's place and gives it back
        data = replace(data, target=data.condition, condition=data.target)
    for view in range(views):
        noise, parts = BatchNoise(stream(run.seed, "represent")), []
        for raw in in_order(data, BATCH):
            if swap and raw.condition is not None:
                raw = raw._replace(target=raw.condition, condition=raw.target)
            c, x = run.task.pair((_mirrored(raw) if view else raw).to(device), noise)
            code = bridge.look(x) if side == "wanted" or c is None else bridge.see(c)
            parts.append(code.cpu().half())
        yield torch.cat(parts)


def _mirrored(raw: Raw) -> Raw:
    condition = None if raw.condition is None else raw.condition.flip(-1)
    return raw._replace(target=raw.target.flip(-1), condition=condition)


def _refuse_constant(side: str, codes: np.ndarray) -> None:
    """Representations that are all alike carry nothing from one side to the other."""
    some = codes[0, :: max(1, codes.shape[1] // 512)].astype(np.float32)
    if not np.isfinite(some).all():
        raise DataError(
            f"The {side}'s expert makes numbers that are not finite of these examples; use another."
        )
    if len(some) > 1 and float(np.ptp(some, 0).max()) == 0:
        raise DataError(
            f"The {side}'s expert makes the same of every example here, so nothing can be learnt."
        )
