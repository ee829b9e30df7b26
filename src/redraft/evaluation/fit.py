"""How the small networks of this room are trained, and where they are kept: once for each data set."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from redraft.core.rng import stream

Net = TypeVar("Net", bound=nn.Module)


def fit(
    net: nn.Module,
    loss: Callable[[Tensor, torch.Generator], Tensor],
    n: int,
    *,
    steps: int,
    batch: int,
    lr: float,
) -> None:
    """Descend ``loss(indices, generator)`` over batches of n examples; AdamW, one warm-up and cosine decay.

    The same net and data give the same weights: order and augmentation come from a stream of their own.
    """
    optimizer = torch.optim.AdamW(net.parameters(), lr, weight_decay=1e-3)
    g = stream(0, "fit", n, steps)
    order = torch.randperm(n, generator=g)
    net.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            warm = min(1, (step + 1) / (0.1 * steps + 1))
            group["lr"] = lr * warm * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(n, generator=g)])
        chosen, order = order[:batch], order[batch:]
        value = loss(chosen, g)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    net.eval().requires_grad_(False)


def cached(net: nn.Module, folder: Path | None, key: str, train: Callable[[], None]) -> None:
    """Load the weights of ``net`` from ``folder`` if they are there, else train and keep them."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    file = folder / f"{key}.safetensors" if folder else None
    if file and file.exists():
        try:
            net.load_state_dict(load_file(file))
            net.eval().requires_grad_(False)
            return
        except (SafetensorError, RuntimeError, OSError):
            pass  # a damaged file is made anew
    train()
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=file.parent, suffix=".part")
        os.close(handle)
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, part)
        os.replace(part, file)


def content_key(name: str, *parts: Tensor | int) -> str:
    """A name for what is made of these tensors and numbers."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        tensor = torch.as_tensor(part).detach().cpu().contiguous()
        digest.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return f"{name}-{digest.hexdigest()}"


def seeded(make: Callable[[], Net]) -> Net:
    """A module whose first weights depend on nothing drawn before; the global random state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()
