"""One at a time: a lock on the folder that a training or a comparison writes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from redraft.app.show import one_first
from redraft.core.errors import UsageError
from redraft.training.folder import usable

LOCK = ".lock"  # in that folder; who holds it is at work there, and a killed process holds none


@contextmanager
def alone(out: Path, work: str) -> Iterator[None]:
    """Inside, no other ``redraft WORK`` is at work in this folder; the processes of one training are one.

    Windows has no such locks, some network drives neither: nobody looks there.
    """
    with ExitStack() as held:
        one_first(lambda: held.enter_context(_locked(out, work)))
        yield


@contextmanager
def _locked(out: Path, work: str) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:
        yield
        return
    new = not out.exists()
    with usable(out):
        out.mkdir(parents=True, exist_ok=True)
        file = (out / LOCK).open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"Another redraft {work} is at work in {out}: wait for it, or give another --out."
            ) from None
        except OSError:
            pass
        try:
            yield
        finally:
            if new and list(out.iterdir()) == [out / LOCK]:  # it came to nothing
                (out / LOCK).unlink()
                out.rmdir()
