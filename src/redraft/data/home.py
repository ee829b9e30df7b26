"""Where what is made from the pictures is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """``$REDRAFT_CACHE``, or ``~/.cache/redraft``."""
    named = os.environ.get("REDRAFT_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "redraft"
