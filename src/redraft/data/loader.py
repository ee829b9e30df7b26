"""Batches as a pure function of (seed, step): nothing to save, nothing to restore."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from redraft.core.errors import UsageError
from redraft.core.rng import stream
from redraft.data.cache import Store


class Raw(NamedTuple):
    """One batch as stored: cropped and flipped, both sides of a pair alike; values still integers.

    ``target``     [N, C, size, size] uint8 (uint16 from 16-bit folders)
    ``condition``  [N, Cc, size, size] uint8, label indices [N, 2 size, 2 size] uint8, or None
    ``category``   [N] int64, or None
    ``captions``   one a picture ("" where it has none); () where no picture has one
    ``rows``       [N] int64, of the store; ``mirrored`` [N] bool; ``given_rows`` and ``given_mirrored`` of
                   the conditions, which are others where sides are not pairs. Empty where nobody said.
    """

    target: Tensor
    condition: Tensor | None
    category: Tensor | None
    names: tuple[str, ...]
    captions: tuple[str, ...] = ()
    rows: np.ndarray = np.empty(0, np.int64)
    mirrored: np.ndarray = np.empty(0, bool)
    given_rows: np.ndarray = np.empty(0, np.int64)
    given_mirrored: np.ndarray = np.empty(0, bool)

    def to(self, device: torch.device | str) -> Raw:
        """The same batch on another device."""
        condition = None if self.condition is None else self.condition.to(device)
        category = None if self.category is None else self.category.to(device)
        return self._replace(target=self.target.to(device), condition=condition, category=category)


class _Cut(NamedTuple):
    """Which pictures of one side are taken, [n] each, and how."""

    rows: np.ndarray
    offsets: np.ndarray  # [n, 2], row and column of the crop's corner
    mirrored: np.ndarray

    def share(self, rank: int, world: int) -> _Cut:
        return _Cut(*(of[rank::world] for of in self))


class Loader:
    """``batch(t)`` depends on (seed, t) alone; every epoch takes each picture once, in an order of its own.

    Sides that are not pairs have epochs, orders, crops and mirrors of their own.
    ``batch`` counts the pictures of all processes together; picture i of it goes to process i % world.
    ``flip``: mirror left to right with probability one half. Of ``leave_out`` = k every k-th picture is in no
    batch: see ``in_order``.
    """

    def __init__(
        self,
        store: Store,
        *,
        batch: int,
        seed: int,
        size: int,
        flip: bool = False,
        leave_out: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch < 1 or batch % world:
            raise UsageError(f"A batch of {batch} cannot be shared evenly by {world} processes.")
        self.store, self.size, self.seed, self.flip = store, size, seed, flip
        self.leave_out = leave_out
        self.count, self.rank, self.world = batch, rank, world
        self.margin = store.target.shape[-1] - size
        if self.margin < 0:
            raise UsageError(f"Pictures of {store.target.shape[-1]} px hold no crop of {size} px.")
        self._target = _windows(store.target, size)
        self._condition = _condition_windows(store, size)
        self._order = functools.lru_cache(maxsize=8)(self._draw_order)

    def batch(self, t: int) -> Raw:
        """The t-th batch, this process's share of it."""
        wanted = given = self._cut(t, "", len(self.store))
        if not self.store.paired and self.store.condition is not None:
            given = self._cut(t, ", given", len(self.store.condition))
        return self._take(wanted.share(self.rank, self.world), given.share(self.rank, self.world))

    def _cut(self, t: int, side: str, total: int) -> _Cut:
        """What the t-th global batch takes of a side that has ``total`` pictures."""
        rng = stream(self.seed, f"augment{side}", t)
        offsets = torch.randint(self.margin + 1, (self.count, 2), generator=rng).numpy()
        mirrored = torch.randint(2, (self.count,), generator=rng).numpy().astype(bool) & self.flip
        return _Cut(self._places(t, side, total), offsets, mirrored)

    def _places(self, t: int, side: str, total: int) -> np.ndarray:
        """Row of the store for each picture of the t-th global batch: epochs laid end to end."""
        positions = np.arange(t * self.count, (t + 1) * self.count)
        taken = total - (total // self.leave_out if self.leave_out else 0)
        epochs, within = positions // taken, positions % taken
        rows = np.empty(self.count, np.int64)
        for epoch in np.unique(epochs):
            rows[epochs == epoch] = self._order(int(epoch), side, total)[within[epochs == epoch]]
        return rows

    def _draw_order(self, epoch: int, side: str, total: int) -> np.ndarray:
        rows = np.arange(total)
        if self.leave_out:
            rows = rows[(rows + 1) % self.leave_out != 0]
        return rows[torch.randperm(len(rows), generator=stream(self.seed, f"order{side}", epoch)).numpy()]

    def _take(self, wanted: _Cut, given: _Cut) -> Raw:
        rows, (y, x) = wanted.rows, wanted.offsets.T
        target = _mirror(self._target[rows, :, y, x], wanted.mirrored)
        condition, category = None, None
        y, x = given.offsets.T
        if self._condition is not None and self._condition.ndim == 5:  # labels, at twice the size
            condition = _mirror(self._condition[given.rows, 2 * y, 2 * x], given.mirrored)
        elif self._condition is not None:
            condition = _mirror(self._condition[given.rows, :, y, x], given.mirrored)
        if self.store.category is not None:
            category = torch.from_numpy(self.store.category[rows])
        return Raw(
            target,
            condition,
            category,
            names=tuple(self.store.names[i] for i in rows),
            captions=tuple(self.store.captions[i] for i in rows) if self.store.captions else (),
            rows=rows,
            mirrored=wanted.mirrored,
            given_rows=given.rows,
            given_mirrored=given.mirrored,
        )


def in_order(store: Store, batch: int, size: int | None = None, every: int = 1) -> Iterator[Raw]:
    """Every example once, in the store's order, the middle cropped, nothing mirrored: for evaluation.

    Of sides that are not pairs every wanted picture once; the given ones go round, or end, beside them. With
    ``every`` = k only those that a ``Loader`` leaves out with ``leave_out`` = k.
    """
    size = size or store.target.shape[-1] - store.margin
    loader = Loader(store, batch=1, seed=0, size=size)
    wanted = np.arange(every - 1, len(store), every)
    given = wanted if store.condition is None else np.arange(every - 1, len(store.condition), every)
    for start in range(0, len(wanted), batch):
        places = np.arange(start, min(start + batch, len(wanted)))
        middle, none = np.full((len(places), 2), loader.margin // 2), np.zeros(len(places), bool)
        yield loader._take(_Cut(wanted[places], middle, none), _Cut(given[places % len(given)], middle, none))


def _windows(array: np.ndarray, size: int) -> np.ndarray:
    """All crops of [M, C, S, S] as a view [M, C, S - size + 1, S - size + 1, size, size]."""
    return np.lib.stride_tricks.sliding_window_view(array, (size, size), axis=(-2, -1))


def _condition_windows(store: Store, size: int) -> np.ndarray | None:
    if store.condition is None:
        return None
    return _windows(store.condition, 2 * size if store.condition.ndim == 3 else size)


def _mirror(pictures: np.ndarray, mirrored: np.ndarray) -> Tensor:
    if mirrored.any():
        pictures[mirrored] = pictures[mirrored, ..., ::-1]
    return torch.from_numpy(pictures)
