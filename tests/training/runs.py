"""Runs in processes of their own, so that they can be killed."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import tiny
import torch
from torch import Tensor

from redraft.core.types import Pair
from redraft.training import Train, train
from redraft.training.journal import TIMING


def settings(**changes: object) -> Train:
    values = {"steps": 60, "batch": 8, "checkpoint_every": 20, "sample_every": 1000, "warmup": 5, **changes}
    return Train(**values)  # type: ignore[arg-type]


def weights(method: torch.nn.Module) -> Tensor:
    return torch.cat([v.flatten().float() for v in method.state_dict().values()])


def killed(run: Callable[[], object]) -> bool:
    """Run in a child process; whether SIGKILL ended it (it must end well otherwise)."""
    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
    return child.exitcode != 0


def suicide() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(step: int) -> Callable[[int], Pair]:
    """Batches of which one kills the process that asks for it."""

    def batch_at(t: int) -> Pair:
        if t == step:
            suicide()
        return tiny.batch_at(t)

    return batch_at


def metrics(out: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the columns of timing."""
    with (out / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in TIMING} for row in csv.DictReader(file)]


def once(out: Path, cfg: Train, *, resume: bool = False, batch_at=tiny.batch_at, **more: object):  # noqa: ANN001, ANN201
    """A run of the tiny pair; returns the method and the outcome."""
    method = tiny.method()
    outcome = train(method, batch_at, cfg, out, seed=3, resume=resume, **more)  # type: ignore[arg-type]
    return method, outcome
