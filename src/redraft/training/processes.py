"""Several processes under ``torchrun``; alone, every function here does nothing.

Gradients are averaged by hand in flat buckets, not by DistributedDataParallel: a method calls an
energy through ``encode`` and in Langevin chains between its updates, and each update runs backward
into one network only, none of which DDP's forward and backward hooks expect.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from redraft.core.errors import UsageError

BUCKET = 1 << 23  # numbers that are averaged in one message (32 MiB of float32)


def rank() -> int:
    return int(os.environ.get("RANK", 0))


def world() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", 0))


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """The process group of this run: nccl on CUDA, else gloo. Nothing when there is one process."""
    if world() == 1 or dist.is_initialized():
        yield
        return
    if not dist.is_available():
        raise UsageError("This PyTorch is built without torch.distributed; start one process only.")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def average(tensors: Iterable[Tensor]) -> None:
    """Put the mean over all processes in place of each tensor, exactly the same everywhere."""
    if not dist.is_initialized():
        return
    for bucket in _buckets(tensors):
        flat = torch.cat([t.reshape(-1) for t in bucket])
        dist.all_reduce(flat)
        flat /= world()
        for t, part in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
            t.copy_(part.view_as(t))


def largest(values: list[float], device: torch.device) -> list[float]:
    """The largest of each value over all processes: how they agree on clocks and on stopping."""
    if not dist.is_initialized():
        return values
    both = torch.tensor(values, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    dist.all_reduce(both, op=dist.ReduceOp.MAX)
    return both.tolist()


@torch.no_grad()
def share(tensors: Iterable[Tensor]) -> None:
    """Process 0's values go to all."""
    if dist.is_initialized():
        for t in tensors:
            dist.broadcast(t, 0)


def hand_round(state: dict[str, Any] | None) -> dict[str, Any] | None:
    """Process 0's state goes to all, so that they need no common disk."""
    if not dist.is_initialized():
        return state
    parcel = [state]
    dist.broadcast_object_list(parcel, 0)
    return parcel[0]


def gather_rows(mine: Tensor, n: int) -> Tensor:
    """The n rows of all processes, of which this one has rank, rank + world, ...; the same everywhere."""
    if not dist.is_initialized():
        return mine
    longest = -(-n // world())
    padded = torch.cat([mine, mine.new_zeros(longest - len(mine), *mine.shape[1:])])
    parts = [torch.empty_like(padded) for _ in range(world())]
    dist.all_gather(parts, padded)
    return torch.stack(parts, 1).flatten(0, 1)[:n]


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for t in tensors:
        full = sum(b.numel() for b in bucket) + t.numel() > BUCKET
        if bucket and (full or t.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(t)
    if bucket:
        yield bucket
