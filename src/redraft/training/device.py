"""Which device, and in which precision."""

from __future__ import annotations

import torch

from redraft.core.errors import UsageError
from redraft.training.settings import Precision


def pick_device(name: str = "auto") -> torch.device:
    """The named device, or the best there is: cuda, mps, cpu. Under torchrun each process has its own GPU."""
    from redraft.training.processes import local_rank

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"There is no device {name!r}; known: auto, cuda, cuda:0, mps, cpu.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("PyTorch sees no CUDA GPU here; use --device cpu, or install its CUDA build.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("PyTorch sees no Apple GPU here; use --device cpu.")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", local_rank())
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"There is no {device}: PyTorch sees {torch.cuda.device_count()} GPU(s) here.")
    return device


def pick_precision(wanted: Precision, device: torch.device) -> torch.dtype:
    """The type that products are computed in. Half precision is for CUDA alone."""
    if wanted in ("bf16", "fp16") and device.type != "cuda":
        raise UsageError(
            f"train.precision={wanted} is for CUDA GPUs; on a {device.type} device float32 is used "
            "(half precision was measured 14 to 76 times slower on CPUs). Leave out the setting."
        )
    if wanted == "fp16":
        return torch.float16
    if wanted == "bf16" and not torch.cuda.is_bf16_supported():
        raise UsageError("This GPU has no bf16; use train.precision=fp16 or float32.")
    if wanted == "bf16" or (wanted == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()):
        return torch.bfloat16
    return torch.float32
