"""A step on a batch that passes through the networks in parts, which teaches as the whole would."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair
from redraft.training import processes
from redraft.training.update import Update


def learn(method: nn.Module, batch: Pair, update: Update, seed: int, t: int) -> dict[str, Tensor]:
    """The method's step t on each part of the batch; its values, averaged over the parts."""
    parts, device = update.cfg.accumulate, update.device
    if len(batch.target) % parts:
        raise UsageError(
            f"A batch of {len(batch.target)} pictures cannot be split into {parts} equal parts "
            "(train.accumulate)."
        )
    total: dict[str, Tensor] = {}
    for part in range(parts):
        update.part(part, parts)
        # Micro-batches share the batch's noise as processes do: picture i has number
        # rank + world * i in the whole batch, and i = part + parts * (place in the part).
        row, rows = processes.rank() + processes.world() * part, processes.world() * parts
        noise = BatchNoise(stream(seed, "step", t, device=device), row, rows)
        values = method.step(_every(batch, part, parts), update, noise)  # type: ignore[operator]
        for key, value in values.items():
            total[key] = total.get(key, torch.zeros((), device=device)) + value.detach().float() / parts
    return total


def finite(batch: Pair, device: torch.device) -> bool:
    """Whether all processes' shares of a batch hold finite numbers only."""
    bad = any(v is not None and v.is_floating_point() and not bool(v.isfinite().all()) for v in batch)
    return not processes.largest([float(bad)], device)[0]


def joined(batches: list[Pair]) -> Pair:
    """One batch of the pictures of several."""
    conditions = [b.condition for b in batches if b.condition is not None]
    return Pair(torch.cat(conditions) if conditions else None, torch.cat([b.target for b in batches]))


def _every(batch: Pair, part: int, parts: int) -> Pair:
    return Pair(*(None if v is None else v[part::parts] for v in batch))  # type: ignore[arg-type]
