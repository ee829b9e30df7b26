"""A run that is gone on with."""

from __future__ import annotations

from pathlib import Path

from redraft.recipes.run import Run
from redraft.training.checkpoint import saved
from redraft.training.folder import settings_of


def begun_run(out: Path) -> Run | None:
    """The run in a folder, as it was begun; None where it has no checkpoint yet."""
    values = settings_of(out) if saved(out / "checkpoints") else None
    if values is None:
        return None
    values.pop("data", None)
    return Run.from_dict(values)
