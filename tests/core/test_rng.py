"""Randomness is a function of where it is used: nothing else may change it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redraft.core.rng import BatchNoise, PictureNoise, stream

places = st.tuples(st.integers(0, 2**31), st.lists(st.integers() | st.text(max_size=5), max_size=3))


def first(seed: int, *where: int | str) -> int:
    return int(torch.randint(2**62, (), generator=stream(seed, *where)))


@given(places, places)
def test_one_stream_a_place(a: tuple, b: tuple) -> None:
    assert first(a[0], *a[1]) == first(a[0], *a[1])
    if a != b:
        assert first(a[0], *a[1]) != first(b[0], *b[1])


def test_names_and_numbers_are_told_apart() -> None:
    assert len({first(0), first(0, 1), first(0, "1"), first(0, 1, 1), first(0, 11), first(0, "1, 1")}) == 6


def test_the_global_generator_neither_changes_it_nor_is_changed() -> None:
    torch.manual_seed(0)
    here = torch.get_rng_state()
    drawn = PictureNoise(1, [0]).normal(1, 4)
    assert torch.equal(torch.get_rng_state(), here)
    torch.manual_seed(5)
    assert torch.equal(PictureNoise(1, [0]).normal(1, 4), drawn)


@settings(max_examples=20)
@given(world=st.integers(1, 4), share=st.integers(1, 5), seed=st.integers(0, 99))
def test_processes_together_draw_what_one_draws(world: int, share: int, seed: int) -> None:
    one = BatchNoise(stream(seed))
    parts = [BatchNoise(stream(seed), rank, world) for rank in range(world)]
    for shape in [(3,), (2, 2)]:  # the streams stay together from draw to draw
        whole = one.normal(share * world, *shape)
        for rank, part in enumerate(parts):
            assert torch.equal(part.normal(share, *shape), whole[rank::world])


def test_a_picture_keeps_its_noise_in_any_batch() -> None:
    whole = PictureNoise(3, range(5))
    draws = [whole.normal(5, 2, 2), whole.normal(5, 4)]
    for i in (4, 0, 2):
        alone = PictureNoise(3, [i])
        assert torch.equal(alone.normal(1, 2, 2)[0], draws[0][i])
        assert torch.equal(alone.normal(1, 4)[0], draws[1][i])
    assert not torch.equal(draws[0][0], draws[0][1])


def test_noise_for_the_wrong_number_of_pictures_is_loud() -> None:
    with pytest.raises(ValueError, match="2 pictures"):
        PictureNoise(0, [0, 1]).normal(3, 4)


def test_draws_are_standard_normal() -> None:
    draws = PictureNoise(0, range(200)).normal(200, 500)
    assert abs(draws.mean().item()) < 0.015 and abs(draws.var().item() - 1) < 0.02
