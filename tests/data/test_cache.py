"""The cache: same geometry on both sides, whole or not there, whoever is killed meanwhile."""

from __future__ import annotations

import builtins
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from folders import photo, photos, save
from PIL import Image

from redraft.core.errors import DataError, OutOfSpace, UsageError
from redraft.data import Cache, Folder, build, cache, decode, read_picture, recognise


def folder_of(root: Path, count: int = 8, **options: tuple[int, int]) -> Folder:
    return recognise(photos(root, *(f"{i:02d}.png" for i in range(count)), **options))


def test_pictures_of_their_own_size_come_through_unchanged(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "d")
    store = build(folder, "train", size=20, margin=4)
    assert store.target.shape == (8 - 1, 3, 24, 24) and store.target.dtype == np.uint8 and store.margin == 4
    for name, array in zip(store.names, store.target, strict=True):
        np.testing.assert_array_equal(array.transpose(1, 2, 0), np.asarray(photo(int(name))))


def test_the_middle_square_is_kept_and_reduced_without_aliasing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "d", size=(60, 40))
    store = build(folder, "train", size=10)
    for name, array in zip(store.names, store.target, strict=True):
        middle = photo(int(name), 60, 40).crop((10, 0, 50, 40)).resize((10, 10), Image.Resampling.LANCZOS)
        assert np.abs(array.transpose(1, 2, 0).astype(int) - np.asarray(middle)).max() <= 2
        raw, opaque = read_picture(tmp_path / "d" / f"{name}.png", size=10)
        np.testing.assert_array_equal(raw[0], array)
        assert bool(opaque.all())


def test_both_sides_keep_the_same_geometry_at_different_sizes(tmp_path: Path) -> None:
    for i in range(4):
        whole = photo(i, 120, 80)
        save(whole, tmp_path / "d/photos" / f"{i}.png")
        save(whole.resize((60, 40), Image.Resampling.BOX), tmp_path / "d/sketches" / f"{i}.png")
    store = build(recognise(tmp_path / "d"), "train", size=20)
    assert store.condition is not None and store.condition.shape == store.target.shape
    difference = np.abs(store.condition.astype(int) - store.target)
    assert difference.mean() < 2 < np.abs(np.roll(store.condition, 1, -1).astype(int) - store.target).mean()


def test_16_bits_stay_16_bits(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (4, 12, 12)).astype(np.uint16)
    for i, array in enumerate(deep):
        save(Image.fromarray(array), tmp_path / "d" / f"{i}.png")
    store = build(recognise(tmp_path / "d"), "train", size=12)
    assert store.target.dtype == np.uint16
    np.testing.assert_array_equal(store.target[:, 0], deep[[int(n) for n in store.names]])


def test_one_corrupt_picture_is_left_out_and_named_all_corrupt_is_an_error(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "d")
    first, *others = folder.examples["train"]
    Path(first.target.path).write_bytes(b"broken")
    store = build(folder, "train", size=16)
    assert store.names == tuple(e.name for e in others) and len(store) == len(others)
    assert len(store.skipped) == 1 and first.name in store.skipped[0]
    for example in others:
        Path(example.target.path).write_bytes(b"broken")
    with pytest.raises(DataError, match="None of the 7 pictures"):
        build(folder, "train", size=16)
    assert not list((Path(os.environ["REDRAFT_CACHE"]) / "pictures").glob(".*"))


def test_what_is_cached_is_not_decoded_again_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "d")
    seen = []
    original = decode.example
    monkeypatch.setattr(decode, "example", lambda *a, **k: seen.append(a) or original(*a, **k))
    for _ in range(3):
        build(folder, "train", size=16)
    assert len(seen) == 7
    build(folder, "train", size=17)
    assert len(seen) == 14
    changed = Path(folder.examples["train"][0].target.path)
    save(photo(99), changed)
    os.utime(changed, ns=(1, 1))
    assert (build(folder, "train", size=16).target[0].transpose(1, 2, 0).astype(int) >= 0).all()
    assert len(seen) == 21


def test_a_damaged_cache_is_made_again(tmp_path: Path, cache_home: Path) -> None:
    folder = folder_of(tmp_path / "d")
    before = np.array(build(folder, "train", size=16).target)
    file = next(cache_home.glob("pictures/*/target.npy"))
    file.write_bytes(file.read_bytes()[:-100])
    np.testing.assert_array_equal(build(folder, "train", size=16).target, before)


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "d")

    class Full:
        def __init__(self, path: Path, mode: str) -> None:
            self.file = builtins.open(path, mode)  # noqa: SIM115 - as long as the cache holds it

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def write(self, data: bytes) -> int:
            if self.file.tell() > 1000:
                raise OSError(28, "No space left on device")
            return self.file.write(data)

    monkeypatch.setattr(cache, "open", lambda path, mode: Full(path, mode), raising=False)
    with pytest.raises(OutOfSpace, match="disk is full"):
        build(folder, "train", size=16)
    assert not any((cache_home / "pictures").iterdir())


def test_what_cannot_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "d")
    with pytest.raises(UsageError, match="size"):
        build(folder, "train", size=10**6)
    with pytest.raises(UsageError, match="size"):
        build(folder, "train", size=0)
    with pytest.raises(DataError, match="no pictures in its validation"):
        build(folder, "validation", size=8)


def _build(root: str, home: str, size: int) -> int:
    return len(Cache(home).build(recognise(root), "train", size=size))


def test_two_processes_may_build_the_same(tmp_path: Path) -> None:
    folder_of(tmp_path / "d", count=30)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        work = [(str(tmp_path / "d"), str(tmp_path / "home"), 16)] * 2
        assert pool.starmap(_build, work) == [27, 27]
    places = [p for p in (tmp_path / "home/pictures").iterdir()]
    assert len(places) == 1 and not places[0].name.startswith(".")


def _slow_build(root: str, home: str) -> None:
    original = decode.example

    def slow(*args: object, **options: object) -> decode.Decoded:
        time.sleep(0.05)
        return original(*args, **options)  # type: ignore[arg-type]

    decode.example = slow  # type: ignore[assignment]
    _build(root, home, 16)


def test_a_killed_writer_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "d", count=200)
    home = tmp_path / "home"
    writer = multiprocessing.get_context("spawn").Process(
        target=_slow_build, args=(str(tmp_path / "d"), str(home))
    )
    writer.start()
    deadline = time.time() + 30
    while not list(home.glob("pictures/.*/target.npy")) and time.time() < deadline:
        time.sleep(0.01)
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    left = list(home.glob("pictures/.*"))
    assert left and not list(home.glob("pictures/[!.]*"))
    assert len(Cache(home).build(folder, "train", size=16)) == 180
    os.utime(left[0], (1, 1))
    Cache(home).build(folder, "train", size=17)
    assert not left[0].exists()
