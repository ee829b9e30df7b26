"""Batches are a pure function of (seed, step), the same for one process and for several."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redraft.core.errors import UsageError
from redraft.data import Loader, Raw, Store, in_order


def store(count: int = 10, side: int = 12, margin: int = 4, labels: bool = False) -> Store:
    """Targets that state their own place: channel 0 the picture, 1 the row, 2 the column."""
    target = np.zeros((count, 3, side, side), np.uint8)
    target[:, 0] = np.arange(count)[:, None, None]
    target[:, 1], target[:, 2] = np.mgrid[:side, :side]
    double = target.repeat(2, 2).repeat(2, 3)
    condition = double[:, 1] * 16 + double[:, 2] if labels else target[:, 1:2] * 16 + target[:, 2:]
    names = tuple(map(str, range(count)))
    return Store(target, condition, np.arange(count), names, margin)


def same(a: Raw, b: Raw) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True)) and a.names == b.names


@given(st.integers(0, 2**40), st.integers(0, 10**6))
def test_a_batch_depends_on_seed_and_step_alone(seed: int, t: int) -> None:
    one, two = (Loader(store(), batch=4, seed=seed, size=8, flip=True) for _ in "ab")
    two.batch(t + 3)
    assert same(one.batch(t), two.batch(t))


@pytest.mark.parametrize("labels", [False, True])
def test_both_sides_are_cropped_and_mirrored_alike(labels: bool) -> None:
    loader = Loader(store(labels=labels), batch=10, seed=1, size=8, flip=True)
    corners, mirrored = set(), Counter[bool]()
    for t in range(40):
        raw = loader.batch(t)
        assert raw.condition is not None and raw.category is not None
        row, column = raw.target[:, 1].long(), raw.target[:, 2].long()
        expected = row * 16 + column
        given_side = raw.condition[:, ::2, ::2] if labels else raw.condition[:, 0]
        assert torch.equal(given_side.long(), expected)
        assert torch.equal(raw.target[:, 0, 0, 0].long(), raw.category)
        assert raw.names == tuple(str(int(c)) for c in raw.category)
        corners |= {(int(a), int(b)) for a, b in zip(row[:, 0, 0], column.amin((1, 2)), strict=True)}
        mirrored.update((column[:, 0, 0] > column[:, 0, -1]).tolist())
    assert corners == {(y, x) for y in range(5) for x in range(5)}
    assert 0.4 < mirrored[True] / mirrored.total() < 0.6


def test_nothing_is_mirrored_unless_asked() -> None:
    loader = Loader(store(), batch=10, seed=1, size=8)
    assert all((loader.batch(t).target[:, 2, 0].diff() > 0).all() for t in range(10))


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 99))
def test_every_epoch_takes_each_picture_once_in_an_order_of_its_own(
    count: int, batch: int, seed: int
) -> None:
    loader = Loader(store(count), batch=batch, seed=seed, size=12)
    steps = -(-3 * count // batch)
    taken = [int(c) for t in range(steps) for c in loader.batch(t).category]  # type: ignore[union-attr]
    epochs = [taken[i * count : (i + 1) * count] for i in range(3)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    if count >= 20:
        assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_what_one_would_take(world: int) -> None:
    whole = Loader(store(), batch=6, seed=5, size=8, flip=True)
    shares = [Loader(store(), batch=6, seed=5, size=8, flip=True, rank=r, world=world) for r in range(world)]
    for t in range(5):
        raw = whole.batch(t)
        for rank, share in enumerate(shares):
            mine = share.batch(t)
            assert torch.equal(mine.target, raw.target[rank::world])
            assert mine.names == raw.names[rank::world]
    with pytest.raises(UsageError, match="shared evenly"):
        Loader(store(), batch=5, seed=0, size=8, world=2)


def two_sides(wanted: int = 7, given: int = 3) -> Store:
    """Sides that are not pairs; each states its own place."""
    return dataclasses.replace(store(wanted), condition=store(given).target, paired=False)


def test_sides_without_pairs_have_epochs_orders_crops_and_mirrors_of_their_own() -> None:
    loader = Loader(two_sides(), batch=21, seed=3, size=8, flip=True)
    orders, alike = set(), 0
    for t in range(20):
        x, c = loader.batch(t)[:2]
        assert c is not None and c.shape == (21, 3, 8, 8)
        assert torch.bincount(x[:, 0, 0, 0].long()).tolist() == [3] * 7  # three whole epochs of one side
        assert torch.bincount(c[:, 0, 0, 0].long()).tolist() == [7] * 3  # seven of the other
        orders |= {tuple(epoch.tolist()) for epoch in c[:, 0, 0, 0].view(7, 3)}
        alike += int((x[:, 1:, 0] == c[:, 1:, 0]).flatten(1).all(1).sum())
    assert len(orders) == 6  # all there are
    assert alike / 420 < 3 / 50  # one in 2 mirrors and 25 crops, were they alike it would be all


def test_sides_of_equal_number_do_not_march_together() -> None:
    loader = Loader(two_sides(5, 5), batch=5, seed=0, size=12)
    met = set()
    for t in range(60):
        x, c = loader.batch(t)[:2]
        assert c is not None
        met |= set(zip(x[:, 0, 0, 0].tolist(), c[:, 0, 0, 0].tolist(), strict=True))
    assert len(met) == 25


@given(st.integers(0, 2**40), st.integers(0, 10**6))
def test_a_batch_of_two_sides_depends_on_seed_and_step_alone(seed: int, t: int) -> None:
    one, two = (Loader(two_sides(), batch=4, seed=seed, size=8, flip=True) for _ in "ab")
    two.batch(t + 3)
    assert same(one.batch(t), two.batch(t))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_both_sides_as_one_would_take_them(world: int) -> None:
    whole = Loader(two_sides(), batch=6, seed=5, size=8, flip=True).batch(4)
    for rank in range(world):
        mine = Loader(two_sides(), batch=6, seed=5, size=8, flip=True, rank=rank, world=world).batch(4)
        assert torch.equal(mine.target, whole.target[rank::world])
        assert mine.condition is not None and whole.condition is not None
        assert torch.equal(mine.condition, whole.condition[rank::world])


@pytest.mark.parametrize(("given", "beside"), [(3, [0, 1, 2, 0, 1, 2, 0]), (9, [0, 1, 2, 3, 4, 5, 6])])
def test_in_order_gives_every_wanted_picture_once_beside_given_ones_in_turn(
    given: int, beside: list[int]
) -> None:
    batches = list(in_order(two_sides(7, given), 4))
    assert torch.cat([b.target[:, 0, 0, 0] for b in batches]).tolist() == list(range(7))
    assert torch.cat([b.condition[:, 0, 0, 0] for b in batches if b.condition is not None]).tolist() == beside


def test_in_order_gives_every_example_once_from_the_middle() -> None:
    batches = list(in_order(store(), 4))
    assert [len(b.target) for b in batches] == [4, 4, 2]
    assert [n for b in batches for n in b.names] == list(map(str, range(10)))
    assert batches[0].target.shape == (4, 3, 8, 8) and int(batches[0].target[0, 1, 0, 0]) == 2


def test_a_store_without_conditions_or_categories() -> None:
    bare = Store(store().target, None, None, store().names)
    raw = Loader(bare, batch=3, seed=0, size=12).batch(0).to("cpu")
    assert raw.condition is None and raw.category is None and raw.target.dtype == torch.uint8
    with pytest.raises(UsageError, match="hold no crop"):
        Loader(bare, batch=3, seed=0, size=13)
