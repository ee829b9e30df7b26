"""Seconds and memory that a call takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Cost(NamedTuple):
    seconds: float
    megabytes: float  # at the peak, beyond what was held before; NaN where the system cannot tell


def cost(call: Callable[[], Any], device: torch.device | str = "cpu") -> Cost:
    """Run ``call`` once to warm up and once measured."""
    call()
    cuda = torch.device(device).type == "cuda"
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) / 1e6
    else:
        before = _start()
    start = time.perf_counter()
    call()
    if cuda:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated(device) / 1e6 if cuda else _status("VmHWM")
    return Cost(seconds, max(0.0, peak - before))


def _start() -> float:
    """Set the process's peak back to what it holds now (Linux), and say how much that is."""
    try:
        RESET.write_text("5")
    except OSError:
        return float("nan")
    return _status("VmRSS")


def _status(key: str) -> float:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith(key)), float("nan"))
