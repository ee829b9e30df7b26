"""Seconds and memory that a call takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Cost(NamedTuple):
    seconds: float
    megabytes: float  # at the peak, beyond what was held before; NaN where the system cannot tell


def cost(call: Callable[[], Any], device: torch.device | str = "cpu") -> Cost:
    """Run ``call`` once to see what it holds, which also warms it up, and once by the clock."""
    before = reset_peak(device)
    call()
    _finish(device)
    held = peak(device) - before
    start = time.perf_counter()
    call()
    _finish(device)
    return Cost(time.perf_counter() - start, max(0.0, held))


def reset_peak(device: torch.device | str) -> float:
    """Set the peak back to what is held now, the GPU's memory or the process's (Linux); that, in MB."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 1e6
    _give_back()
    try:
        RESET.write_text("5")
    except OSError:
        return float("nan")
    return _status("VmRSS")


def peak(device: torch.device | str) -> float:
    """MB held at the most since ``reset_peak``; NaN where the system cannot tell."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return _status("VmHWM")


def _finish(device: torch.device | str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _give_back() -> None:
    """What was freed goes back to the system, which glibc leaves undone: it would hide what a call holds."""
    import ctypes

    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _status(key: str) -> float:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith(key)), float("nan"))
