"""The sample grid of a run: what it makes of the same held-out pictures, time after time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from redraft.app.bridges import Viewed
from redraft.core import images
from redraft.core.rng import PictureNoise
from redraft.core.types import Pair
from redraft.methods.autoencoder import Autoencoder
from redraft.methods.method import Method
from redraft.recipes import Run


def drawer(
    run: Run, few: Pair, device: torch.device, view: Callable[[Method], Viewed]
) -> Callable[[Any], Tensor]:
    """The sample grid: condition, draft, refined, truth, always of the same held-out pictures.

    Of an autoencoder the pictures and below what it gives back of them.
    """

    def draw(method: Method) -> Tensor:
        if isinstance(method, Autoencoder):
            back = method.back(few.target.to(device)).cpu()
            return images.grid([few.target, back], scale=2)
        n = len(few.target) if few.condition is not None else 8
        c = None if few.condition is None else few.condition.to(device)
        made = view(method).generate(c, n, PictureNoise(run.seed, range(n), device))
        drafts, refined = made.drafts.cpu().clamp(-1, 1), made.images.cpu().clamp(-1, 1)
        rows = [drafts, refined, few.target] if method.refine_steps else [drafts, few.target]
        shown = run.task.show(few.condition, n)
        return images.grid(rows if shown is None else [shown, *rows], scale=2)

    return draw
