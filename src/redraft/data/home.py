"""Where what is made from the pictures is kept."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from redraft.core.errors import OutOfSpace, UsageError


def cache_home() -> Path:
    """``$REDRAFT_CACHE``, or ``~/.cache/redraft``."""
    named = os.environ.get("REDRAFT_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "redraft"


def refuse_unwritable(home: Path) -> None:
    """Refuse a cache folder in which nothing can be written."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as failed:
        if failed.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(f"The disk of {home} is full: free some space.") from None
        raise UsageError(
            f"Nothing can be written to the cache {home} ({failed.strerror}): set REDRAFT_CACHE to another "
            "folder."
        ) from None
