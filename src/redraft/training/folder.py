"""The folder of a run: what was asked, where it ran, and whether it may be gone on with.

run.yaml, environment.json, metrics.csv, events.log, samples/step_*.png, checkpoints/.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml

from redraft.core.errors import CheckpointError, UsageError
from redraft.training import checkpoint, processes

FREE = ("train.steps", "train.minutes", "train.keep", "train.sample_every", "train.shard")  # may change


@contextmanager
def usable(out: Path) -> Iterator[None]:
    """A folder that may not be read or written is a UsageError."""
    try:
        yield
    except OSError as failure:
        raise UsageError(
            f"The folder {out} cannot be used ({failure.strerror}); choose another with --out."
        ) from None


def refuse_another(out: Path) -> None:
    """A new run must not go into the folder of one that has learnt something."""
    with usable(out):
        steps = [s.step for s in checkpoint.saved(out / "checkpoints")]
        if steps:
            raise UsageError(
                f"{out} already holds a run (step {max(steps)}): "
                "go on with --resume, or choose another folder."
            )
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is a file; a run needs a folder.")
        if (out / "metrics.csv").exists() or (
            (out / "checkpoints").exists() and not (out / "run.yaml").exists()
        ):
            raise UsageError(f"{out} holds other files of a run; choose another folder.")


def describe(out: Path, config: dict[str, Any], device: torch.device, precision: str) -> None:
    """Write run.yaml and environment.json."""
    where = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": processes.world(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }
    with usable(out):
        out.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text(out / "run.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        checkpoint.write_text(out / "environment.json", json.dumps(where, indent=2) + "\n")


def resumable(out: Path) -> bool:
    """Whether there is a checkpoint to go on from; False when the run stopped before its first one."""
    if checkpoint.saved(out / "checkpoints"):
        return True
    if (out / "run.yaml").exists():
        return False
    raise CheckpointError(f"There is no run to go on with in {out}: start it without --resume.")


def refuse_other_settings(saved: dict[str, Any], config: dict[str, Any], out: Path) -> None:
    """A resumed run must be the run that was begun; names the first setting that is not."""
    if "data" in saved and saved["data"] != config.get("data"):
        raise CheckpointError(
            f"The pictures have changed since the run in {out} began: give the ones that it was begun with, "
            "or start a new run in another folder."
        )
    if change := difference(saved, config, FREE):
        raise CheckpointError(
            f"The run in {out} was begun with {change[0]} = {change[1]!r}, not {change[2]!r}: "
            "set it back, or start a new run in another folder."
        )


def refuse_another_run(out: Path, config: dict[str, Any]) -> None:
    """The same by run.yaml, before anything is computed; where that cannot be read the checkpoints tell."""
    if begun := settings_of(out):
        refuse_other_settings(begun, config, out)


def settings_of(out: Path) -> dict[str, Any] | None:
    """The settings in run.yaml; None where it cannot be read."""
    try:
        begun = yaml.safe_load((out / "run.yaml").read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return begun if isinstance(begun, dict) else None


def difference(
    saved: dict[str, Any], config: dict[str, Any], free: Iterable[str] = ()
) -> tuple[str, Any, Any] | None:
    """The first setting in which two runs differ, but for pictures and what is ``free``: key, values."""
    before, now = _flat(saved), _flat(json.loads(json.dumps(config)))
    for key in sorted((before.keys() | now.keys()) - {"data", *free}):
        if before.get(key) != now.get(key):
            return key, before.get(key), now.get(key)
    return None


def _flat(config: Any, where: str = "") -> dict[str, Any]:
    if not isinstance(config, dict):
        return {where: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{where}.{key}" if where else str(key))
    return flat
