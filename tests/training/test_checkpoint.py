"""A checkpoint is whole or is not there; a full disk loses nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from runs import metrics, once, settings, weights

from redraft.core.errors import CheckpointError, OutOfSpace
from redraft.training import checkpoint, journal

Usage = namedtuple("Usage", "total used free")


def state(step: int) -> dict:
    return {"step": step, "weights": torch.full((3,), float(step)), "note": "words", "rates": [0.5, 1]}


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, state(7), 7)
    assert (tmp_path / "latest").read_text().strip() == path.name
    read = checkpoint.newest(tmp_path)
    assert read is not None and torch.equal(read["weights"], torch.full((3,), 7.0))
    assert {k: v for k, v in read.items() if k != "weights"} == {
        "step": 7,
        "note": "words",
        "rates": [0.5, 1],
    }
    assert checkpoint.newest(tmp_path / "nothing") is None


def test_the_number_kept_and_the_order(tmp_path: Path) -> None:
    for step in range(5):
        checkpoint.write(tmp_path, state(step), step)
        checkpoint.prune(tmp_path, 3)
    assert [s.step for s in checkpoint.saved(tmp_path)] == [4, 3, 2]
    checkpoint.write(tmp_path, state(3), 3)  # the watchdog went back
    checkpoint.give_up(tmp_path, 3)
    assert [(s.serial, s.step) for s in checkpoint.saved(tmp_path)] == [(6, 3), (3, 2)]
    assert checkpoint.newest(tmp_path)["step"] == 3  # type: ignore[index]
    assert checkpoint.newest(tmp_path, before=3)["step"] == 2  # type: ignore[index]


def test_no_pickle_is_ever_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):  # noqa: ANN204
            return os.system, ("true",)

    with pytest.raises(Exception, match="weights_only|Weights only"):
        checkpoint.write(tmp_path, {"step": 1, "evil": Evil()}, 1)
        checkpoint.newest(tmp_path)


def test_a_full_disk_in_the_middle_of_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write(tmp_path, state(1), 1)
    before = files(tmp_path)
    write, calls = checkpoint._Hashing.write, [0]

    def full(self: checkpoint._Hashing, data: bytes) -> int:
        calls[0] += 1
        return write(self, data) if calls[0] < 5 else self.file.write(data) and _no_space(self)

    def _no_space(self: checkpoint._Hashing) -> int:
        self.failure = OSError(errno.ENOSPC, "No space left on device")
        raise self.failure

    monkeypatch.setattr(checkpoint._Hashing, "write", full)
    with pytest.raises(OutOfSpace, match="make room, then go on with --resume"):
        checkpoint.write(tmp_path, state(2), 2)
    assert files(tmp_path) == before  # no temporary file either


@pytest.mark.parametrize("place", ["fsync", "rename"])
def test_a_full_disk_at_the_last_moment(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write(tmp_path, state(1), 1)
    before = files(tmp_path)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if place == "fsync" else (Path, "rename")), full)
    with pytest.raises(OutOfSpace):
        checkpoint.write(tmp_path, state(2), 2)
    assert files(tmp_path) == before


def test_space_is_checked_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(OutOfSpace, match="needs .* MB"):
        once(tmp_path / "run", settings())
    assert not checkpoint.saved(tmp_path / "run" / "checkpoints")


def test_a_run_that_ran_out_of_space_goes_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = once(tmp_path / "a", settings())
    rows, calls = journal.Journal.rows, [0]

    def full(self: journal.Journal, lines: list) -> None:
        calls[0] += 1
        if calls[0] == 35:
            with checkpoint.disk_full(self.out):
                raise OSError(errno.ENOSPC, "No space left on device")
        rows(self, lines)

    with monkeypatch.context() as patch, pytest.raises(OutOfSpace):
        patch.setattr(journal.Journal, "rows", full)
        once(tmp_path / "b", settings())
    resumed, _ = once(tmp_path / "b", settings(), resume=True)
    assert torch.equal(weights(whole), weights(resumed))
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")


def test_other_networks(tmp_path: Path) -> None:
    import tiny

    from redraft.training import train

    once(tmp_path / "run", settings(steps=3))
    method = tiny.method(pool=16)
    with pytest.raises(CheckpointError, match="other networks"):
        train(method, tiny.batch_at, settings(steps=3), tmp_path / "run", seed=3, resume=True)
