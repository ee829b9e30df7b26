"""What experts make of a split's pictures and conditions: computed once, kept in memory-mapped files."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from redraft.app.examples import pair_of
from redraft.app.show import one_first, say
from redraft.core.config import to_dict
from redraft.core.errors import DataError
from redraft.core.images import saving
from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair
from redraft.data import Raw, Store, in_order
from redraft.data.home import cache_home
from redraft.nets.experts import Expert
from redraft.recipes.run import Run
from redraft.spaces.bridge import Bridge
from redraft.spaces.sentence import Sentence
from redraft.tasks.recover import Recover

BATCH = 32  # pictures read together
SENTENCES = 256  # sentences
EVERY = 20.0  # seconds between lines on how far an expert has come
ROUNDED = 0.05  # of a channel's standard deviation: half precision may change numbers by so much
STILL = 1e-4  # a channel that deviates by less is the same everywhere


@dataclass(frozen=True)
class Codes:
    """Representations as the experts make them [F, M, ...]: F = 2 where mirrored pictures are used.

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

    def fit(self, bridge: Bridge, leave_out: int = 0) -> None:
        """Standardise by the training set; two sides of one space, of which none are pairs, by both.

        Of ``leave_out`` = k every k-th example tells nothing, as in a ``Loader``.
        """
        given = None if self.given is None else _flat(self.given, leave_out)
        wanted = None if self.wanted is None else _flat(self.wanted, leave_out)
        if given is not None and wanted is not None and not bridge.raw.paired:
            given = wanted = torch.cat([given, wanted])
        bridge.fit(given, wanted)


def _flat(codes: np.ndarray, leave_out: int = 0, most: int = 20_000) -> Tensor:
    """Some of the codes [<= most, ...], evenly over the examples as they are."""
    rows = np.arange(codes.shape[1])
    if leave_out:
        rows = rows[(rows + 1) % leave_out != 0]
    return torch.from_numpy(codes[0, rows[:: -(-len(rows) // most)]].astype(np.float32))


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
            given = _kept(of, lambda: _sentences(data, bridge, name))
        else:
            given = _kept(of, lambda: _views(data, run, bridge, "given", views, device, name))
    if bridge.target is not None and run.target.draws:
        wanted = draw(run, bridge.target).numpy()[None]
    elif bridge.target is not None:
        of = _name(key, run, run.target.fingerprint, "wanted", views)
        wanted = _kept(of, lambda: _views(data, run, bridge, "wanted", views, device, run.target.latent))
    for side, codes in (("condition", given), ("target", wanted)):
        if codes is not None:
            _refuse_constant(side, codes)
    if wanted is not None:
        _tell_duplicates(wanted)
    return Codes(given, wanted)


def draw(run: Run, generator: Expert, split: str = "train", n: int | None = None) -> Tensor:
    """What the pictures of a run towards a generator are drawn of [n, *shape]: a function of its seed."""
    return generator.draw(run.target.draws if n is None else n, stream(run.seed, "draw", split)).float()


def _name(key: str, run: Run, fingerprint: str, side: str, views: int) -> Path:
    task = to_dict(run.task)
    return kept_as([key, task, run.task_name, run.reading.stretch, fingerprint, side, views])


def kept_as(told: list[object]) -> Path:
    """The file for an array that all this decides."""
    words = json.dumps(told).encode("utf-8", "surrogateescape")
    return cache_home() / "representations" / f"{hashlib.blake2b(words, digest_size=12).hexdigest()}.npy"


def _kept(path: Path, views: Callable[[], Iterator[Tensor]]) -> np.ndarray:
    return kept(path, lambda: _rounded(torch.stack(list(views()))).numpy())


def kept(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The file's array, made first where it is not there: whole or not at all, by one process."""

    def write() -> None:
        if path.exists():
            return
        array = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        half_made = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.npy")
        try:
            with saving(path):
                np.save(half_made, array)
                os.replace(half_made, path)
        finally:
            half_made.unlink(missing_ok=True)

    one_first(write)
    return np.load(path, mmap_mode="r")


def _rounded(codes: Tensor) -> Tensor:
    """In half precision [F, M, ...], where that tells examples apart as well."""
    half, over = codes.half(), [i for i in range(codes.ndim) if i != 2]
    gap, spread = (half.float() - codes).abs().amax(over), codes.std(over, correction=0)
    return half if bool(((gap <= ROUNDED * spread) | ((spread < STILL) & gap.isfinite())).all()) else codes


def _looked_at(parts: Iterable[Tensor], expert: str, total: int, what: str) -> Tensor:
    say(f"{expert} looks at {total} {what}; what it makes of them is kept.")
    return patiently(parts, expert, total).float()


def patiently(parts: Iterable[Tensor], expert: str, total: int) -> Tensor:
    """All that an expert makes of ``total`` examples; says now and then how far it has come."""
    rows: list[Tensor] = []
    done, told = 0, time.monotonic()
    for part in parts:
        rows.append(part.cpu())
        done += len(part)
        if done < total and time.monotonic() - told >= EVERY:
            told = time.monotonic()
            say(f"{expert}: {done} of {total}")
    return torch.cat(rows)


def _sentences(data: Store, bridge: Bridge, expert: str) -> Iterator[Tensor]:
    """One view: the caption of each example, each wording read once."""
    distinct = list(dict.fromkeys(data.captions))
    some = (distinct[i : i + SENTENCES] for i in range(0, len(distinct), SENTENCES))
    seen = (bridge.see(Sentence().encode(texts)) for texts in some)
    codes = _looked_at(seen, expert, len(distinct), "different captions")
    place = {words: i for i, words in enumerate(distinct)}
    yield codes[[place[words] for words in data.captions]]


def _views(
    data: Store, run: Run, bridge: Bridge, side: str, views: int, device: torch.device, expert: str
) -> Iterator[Tensor]:
    """What the expert of a side makes of all its pictures, first as they are, then mirrored."""
    swap = side == "given" and not data.paired and data.condition is not None
    if swap and data.condition is not None:  # it takes the wanted one's place and gives it back
        rows = ("",) * len(data.condition)  # which have neither names nor categories of their own
        swapped = replace(data, target=data.condition, condition=data.target, names=rows)
        data = replace(swapped, category=None, captions=())

    def seen(mirrored: bool) -> Iterator[Tensor]:
        noise = BatchNoise(stream(run.seed, "represent"))
        for raw in in_order(data, BATCH):
            if swap and raw.condition is not None:
                raw = raw._replace(target=raw.condition, condition=raw.target)
            c, x = pair_of(_mirrored(raw) if mirrored else raw, run, noise, device)
            yield bridge.look(x) if side == "wanted" or c is None else bridge.see(c)

    for view in range(views):
        what = f"{'given' if side == 'given' else 'wanted'} pictures{', mirrored' if view else ''}"
        yield _looked_at(seen(bool(view)), expert, len(data), what)


def _mirrored(raw: Raw) -> Raw:
    condition = None if raw.condition is None else _flipped(raw.condition)
    return raw._replace(target=_flipped(raw.target), condition=condition)


def _flipped(pictures: Tensor) -> Tensor:
    """Left to right, of 16 bits too, which torch does not flip."""
    return torch.from_numpy(pictures.numpy()[..., ::-1].copy())


def _tell_duplicates(codes: np.ndarray, most: int = 512) -> None:
    """Warn where most of what is to be made comes more than once: its density has no peak that is finite."""
    some = codes[0, :: max(1, codes.shape[1] // most)]
    different = len({row.tobytes() for row in some})
    if different <= len(some) // 2:
        say(
            f"warning: Only {different} of {len(some)} wanted representations differ: look for duplicates "
            "with redraft data check."
        )


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
