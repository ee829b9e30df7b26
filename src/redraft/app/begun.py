"""A run that is gone on with: where it lies, how it was begun, with what prior."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from redraft.core import images
from redraft.core.errors import CheckpointError, UsageError
from redraft.hub import bundle
from redraft.recipes.run import Run
from redraft.tasks import TASKS
from redraft.training.checkpoint import saved
from redraft.training.folder import settings_of

TOLD = "prior.json"  # in a run's folder


def begun_run(out: Path) -> Run | None:
    """The run in a folder, as it was begun; None where it has no checkpoint yet.

    CheckpointError where run.yaml holds something else.
    """
    values = settings_of(out) if saved(out / "checkpoints") else None
    if values is None:
        return None
    values.pop("data", None)
    try:
        return Run.from_dict(values)
    except (KeyError, TypeError, ValueError, UsageError) as wrong:
        what = str(wrong) if isinstance(wrong, UsageError) else "They are not a run's."
        raise CheckpointError(
            f"The settings in {out / 'run.yaml'} cannot be used, so put the file back or start a new run in "
            f"another folder: {what}"
        ) from None


def default_place(data: str, task: str, label: str) -> Path:
    """Where a run lies when nobody says."""
    return Path("runs") / f"{Path(data).name}-{task}-{label}"


def default_run(data: str, task: str | None, method: str) -> tuple[Path, Run] | None:
    """The one run of ``method`` on ``data`` in a default folder that can be gone on with, if there is one."""
    places = [default_place(data, name, method) for name in ([task] if task else TASKS)]
    found = [(place, run) for place in places if (run := begun_run(place))]
    if len(found) > 1:
        names = ", ".join(str(place) for place, _ in found)
        raise UsageError(f"--resume could go on with any of {names}: name one with --out, or its --task.")
    return found[0] if found else None


def keep_told(out: Path, weights: Mapping[str, Tensor], place: Path | None) -> None:
    """Write into a run's folder how large its prior is, and how long that was trained if it was trained here.

    The prior's own folder may be gone when somebody wants to know. ``place``: its bundle; None: it is
    somebody else's.
    """
    told: dict[str, Any] = {"weights": sum(t.numel() for t in weights.values())}
    if place is not None:
        about = bundle.load(place).config.get("about", {})
        told |= {key: about[key] for key in ("steps", "seconds", "pictures") if key in about}
    images.save(out / TOLD, json.dumps(told).encode())


def told_of(out: Path) -> dict[str, dict[str, Any]]:
    """What ``keep_told`` has written, as a bundle says it; {} where there is nothing."""
    try:
        return {"prior": dict(json.loads((out / TOLD).read_text("utf-8")))}
    except (OSError, ValueError):
        return {}
