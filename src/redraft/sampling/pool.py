"""Persistent chains: a pool of refined pictures that later steps refine further."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from redraft.core.rng import Noise
from redraft.core.types import Spec


class Pool(nn.Module):
    """``capacity`` pictures and their conditions, as buffers, so that they travel with a checkpoint.

    Replay buffers with re-initialisation: Du & Mordatch, IGEBM (arXiv:1903.08689), 10,000 pictures
    with 5 % re-started; Grathwohl et al., JEM (arXiv:1912.03263). Here "re-started" means that a
    fresh draft takes a chain's place, since drafts are the house's starting points.
    """

    x: Tensor
    c: Tensor
    written: Tensor

    def __init__(self, spec: Spec, capacity: int) -> None:
        super().__init__()
        self.register_buffer("x", torch.zeros(capacity, spec.channels, spec.size, spec.size))
        shapes = {"picture": (spec.width, spec.size, spec.size), "vector": (spec.width,)}
        kind = torch.float32 if spec.condition in shapes else torch.int64
        shape: tuple[int, ...] = shapes.get(spec.condition, ())
        self.register_buffer("c", torch.zeros(capacity, *shape, dtype=kind))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    def swap_in(
        self, x: Tensor, c: Tensor | None, share: float, restart: float, rng: Noise
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Replace about ``share`` of the rows (x, c) by chains of the pool; which ones, bool [N].

        Of those, about the share ``restart`` stay fresh. Shapes as given; rows are independent.
        """
        n, filled = len(x), min(int(self.written), len(self.x))
        draws = torch.special.ndtr(rng.normal(n, 3))
        if filled < n:
            return x, c, torch.zeros(n, dtype=torch.bool, device=x.device)
        row = (draws[:, 0] * filled).long().clamp_(max=filled - 1)
        take = (draws[:, 1] < share) & (draws[:, 2] >= restart)
        x = torch.where(take[:, None, None, None], self.x[row], x)
        if c is not None:
            c = torch.where(take.view(-1, *[1] * (c.ndim - 1)), self.c[row], c)
        return x, c, take

    @torch.no_grad()
    def put(self, x: Tensor, c: Tensor | None) -> None:
        """Store refined pictures, the oldest making room."""
        start = int(self.written)
        row = torch.arange(start, start + len(x), device=x.device) % len(self.x)
        self.x[row] = x
        if c is not None:
            self.c[row] = c
        self.written += len(x)
