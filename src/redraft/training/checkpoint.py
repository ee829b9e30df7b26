"""The whole state of a run in one file: written at once or not at all, never trusted without its checksum.

    checkpoints/step_00000500.3.0f3c9a1b2d4e5f60.pt     step, serial number, first half of its SHA-256
    checkpoints/latest                                  the name of the newest

The serial number orders them: after the watchdog has gone back, an earlier step may be the newer file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import torch
from torch import Tensor

from redraft.core.errors import CheckpointError, OutOfSpace
from redraft.training import processes

NAME = re.compile(r"step_(\d+)\.(\d+)\.([0-9a-f]{16})\.pt")
MARGIN = 4 << 20  # bytes left for the journal and the pictures


class Saved(NamedTuple):
    """A checkpoint file, as its name tells it."""

    serial: int
    step: int
    path: Path


def saved(folder: Path) -> list[Saved]:
    """The checkpoints of a folder, the newest first; none if there is no folder."""
    found = [(NAME.fullmatch(p.name), p) for p in folder.glob("step_*.pt")]
    return sorted((Saved(int(m[2]), int(m[1]), p) for m, p in found if m), reverse=True)


def write(folder: Path, state: dict[str, Any], step: int) -> Path:
    """Save ``state`` as the newest checkpoint; OutOfSpace leaves the old ones as they were."""
    folder.mkdir(parents=True, exist_ok=True)
    serial = 1 + max((s.serial for s in saved(folder)), default=0)
    temporary = folder / ".writing"
    temporary.unlink(missing_ok=True)
    with disk_full(folder, temporary):
        _need(folder, _bytes(state) + MARGIN)
        with temporary.open("wb") as file:
            hashing = _Hashing(file)
            try:
                torch.save(state, cast(IO[bytes], hashing))
            except RuntimeError:
                if hashing.failure is not None:  # PyTorch's writer hides it
                    raise hashing.failure from None
                raise
            file.flush()
            os.fsync(file.fileno())
        path = folder / f"step_{step:08d}.{serial}.{hashing.digest()}.pt"
        temporary.rename(path)
        _sync(folder)
    write_text(folder / "latest", path.name + "\n")
    return path


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest ``keep``."""
    for old in saved(folder)[keep:]:
        old.path.unlink(missing_ok=True)


def give_up(folder: Path, step: int) -> None:
    """Remove the checkpoints of ``step`` and later but the newest file: what was learnt there is undone."""
    for file in saved(folder)[1:]:
        if file.step >= step:
            file.path.unlink(missing_ok=True)


def newest(
    folder: Path,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = print,
    before: int | None = None,
) -> dict[str, Any] | None:
    """The newest sound state (of a step earlier than ``before``), or None when there is no checkpoint.

    Damaged ones are told to ``say`` and passed over; when none is sound, CheckpointError.
    """
    files = [s for s in saved(folder) if before is None or s.step < before]
    for file in files:
        state = _read(file.path, device)
        if state is not None:
            return state
        say(f"Checkpoint {file.path.name} is damaged (its checksum differs); the one before it is used.")
    if files:
        raise CheckpointError(
            f"No checkpoint in {folder} can be read, all are damaged; start the run anew in another folder."
        )
    return None


def write_text(path: Path, text: str) -> None:
    """Write a small file at once or not at all."""
    temporary = path.with_name(f".{path.name}.writing")
    with disk_full(path.parent, temporary):
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


@contextmanager
def disk_full(folder: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn a full disk into OutOfSpace; ``temporary`` is removed when anything fails."""
    try:
        yield
    except BaseException as failure:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(
                f"The disk of {folder} is full. What was saved before is intact: "
                "make room, then go on with --resume."
            ) from None
        raise


def _need(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OutOfSpace(
            f"A checkpoint needs {size / 1e6:.1f} MB, but the disk of {folder} has {free / 1e6:.1f} MB left. "
            "What was saved before is intact: make room, then go on with --resume."
        )


def _read(path: Path, device: torch.device | str) -> dict[str, Any] | None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    match = NAME.fullmatch(path.name)
    if match is None or digest.hexdigest()[:16] != match[3]:
        return None
    return torch.load(path, map_location=device, weights_only=True)


def _bytes(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(map(_bytes, state.values()))
    return sum(map(_bytes, state)) if isinstance(state, (list, tuple)) else 0


def _sync(folder: Path) -> None:
    """Make the rename last through a power cut, where folders can be synced."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Keeper:
    """The checkpoints of one run. Process 0 reads and writes, and hands round what it read."""

    def __init__(self, folder: Path, device: torch.device, keep: int, say: Callable[[str], None]) -> None:
        self.folder, self.device, self.keep, self.say = folder, device, keep, say
        self.first = processes.rank() == 0

    def newest(self, before: int | None = None) -> dict[str, Any] | None:
        """The newest sound state, of a step earlier than ``before``."""
        state = newest(self.folder, self.device, self.say, before) if self.first else None
        return processes.hand_round(state)

    def before_fault(self, failed: int) -> dict[str, Any]:
        """Where to go back to: the newest, or, if going back to step ``failed`` did not help, one earlier."""
        state = self.newest()
        if state is not None and state["step"] == failed and (earlier := self.newest(failed)) is not None:
            state = earlier
        if state is None:
            raise CheckpointError(f"The checkpoints in {self.folder} have gone; start the run anew.")
        return state

    def has(self, step: int) -> bool:
        files = saved(self.folder)
        return bool(files) and files[0].step == step

    def save(self, state: dict[str, Any], undo: bool = False) -> None:
        """Write ``state``; with ``undo`` it replaces all of its step and of later ones."""
        if self.first:
            write(self.folder, state, state["step"])
            if undo:
                give_up(self.folder, state["step"])
            prune(self.folder, self.keep)
        processes.barrier()


class _Hashing:
    """A file to write to that also computes the checksum, and remembers what went wrong."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash, self.failure = file, hashlib.sha256(), None

    failure: OSError | None

    def write(self, data: bytes) -> int:
        try:
            self.hash.update(data)
            return self.file.write(data)
        except OSError as failure:
            self.failure = failure
            raise

    def flush(self) -> None:
        self.file.flush()

    def digest(self) -> str:
        return self.hash.hexdigest()[:16]
