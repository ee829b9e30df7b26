"""Drawings as hands make them: lines are left out, and wander. For conditions that programs have drawn.

What is trained on edges alone takes each line at its word; people draw fewer, and beside where they belong.
(PITI's released sketch model, arXiv:2205.12952, trained on edges, was rated last on freehand drawings by
ControlNet, arXiv:2302.05543, Table 1.) The two changes, and how strong they are, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.rng import Noise

PATCHES = 9  # a side: how large the pieces are whose lines are left out
WAVES = 5  # a side: how long the waves are along which lines wander
FADE = 0.3  # standard deviations of the field over which a line runs out


@dataclass(frozen=True, kw_only=True)
class Hand:
    """How freely a drawing is drawn again; each drawing's strengths are uniform between none and these."""

    dropped: float = 0.0  # share of the page whose lines are left out, at most
    jitter: float = 0.0  # how far lines wander: standard deviation as a share of the side, at most

    def __post_init__(self) -> None:
        if not 0 <= self.dropped <= 1 or not 0 <= self.jitter <= 0.2:
            raise UsageError(
                "A hand's dropped is a share of the page between 0 and 1, and its jitter a share of the side "
                f"between 0 and 0.2, not {self.dropped:g} and {self.jitter:g}."
            )

    @property
    def still(self) -> bool:
        """Whether it changes nothing."""
        return self.dropped == self.jitter == 0


def redrawn(drawing: Tensor, hand: Hand, rng: Noise) -> Tensor:
    """Drawings [N, C, H, W] in [-1, 1], dark on light paper (1), as a hand would draw them.

    The same drawings, and nothing is drawn from ``rng``, where the hand is still.
    """
    if hand.still:
        return drawing
    n = len(drawing)
    strength = torch.special.ndtr(rng.normal(n, 2))
    patches, waves = rng.normal(n, 1, PATCHES, PATCHES), rng.normal(n, 2, WAVES, WAVES)
    if hand.jitter:
        drawing = wander(drawing, hand.jitter * strength[:, 1, None, None, None] * waves)
    return leave_out(drawing, hand.dropped * strength[:, 0], patches) if hand.dropped else drawing


def leave_out(drawing: Tensor, share: Tensor, patches: Tensor) -> Tensor:
    """Lines fade out on ``share`` [N] of the page: where that through ``patches`` [N, 1, h, w] is low."""
    field = _smooth(patches, drawing)
    ranked = field.flatten(1).sort(1).values
    last = (share.clamp(0, 1) * ranked.shape[1]).round().long()[:, None]
    limit = ranked.gather(1, (last - 1).clamp_min(0))[:, :, None, None]
    kept = ((field - limit) / FADE).clamp(0, 1)
    kept = torch.where(last[:, :, None, None] > 0, kept, 1.0)
    return 1 - (1 - drawing) * kept


def wander(drawing: Tensor, way: Tensor) -> Tensor:
    """Lines moved along smooth waves; ``way`` [N, 2, h, w]: (x, y) at some places, in shares of the side."""
    n = len(drawing)
    here = torch.eye(2, 3, dtype=drawing.dtype, device=drawing.device).expand(n, -1, -1)
    grid = F.affine_grid(here, list(drawing.shape), align_corners=False)
    moved = grid + 2 * _smooth(way, drawing).permute(0, 2, 3, 1)
    return F.grid_sample(drawing, moved, mode="bilinear", padding_mode="border", align_corners=False)


def _smooth(coarse: Tensor, like: Tensor) -> Tensor:
    """A field [N, k, h, w] as fine as a picture is."""
    coarse = coarse.to(like)
    return F.interpolate(coarse, size=like.shape[-2:], mode="bicubic", align_corners=True)
