"""Does a picture agree with its condition? For drawings, for what a condition fixes exactly, for content.

Categories are asked of ``judge``, label maps of ``segmenter``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.evaluation.paired import rmse
from redraft.spaces.edges import draw_edges
from redraft.spaces.pixels import luma


def edge_agreement(x: Tensor, drawing: Tensor, tolerance: int = 1) -> Tensor:
    """F-measure [N] of the edges of x against a drawing [N, 1, H, W], dark lines on light paper."""
    return f_measure(draw_edges(x) < 0, lines(luma(drawing)), tolerance)


def lines(drawing: Tensor) -> Tensor:
    """Which pixels of [N, 1, H, W] are lines: half as dark, or more, as the darkest hundredth of the drawing.

    Thin lines turn grey when a drawing is reduced, so black is no measure.
    """
    ink = (1 - drawing) / 2
    dark = ink.flatten(1).quantile(0.99, 1).clamp_min(0.1)
    return ink > dark[:, None, None, None] / 2


def f_measure(found: Tensor, wanted: Tensor, tolerance: int = 1) -> Tensor:
    """Of line pixels, bool [N, 1, H, W]: a pixel counts as met when the other drawing has one within
    ``tolerance`` px. Two empty drawings agree (1), an empty one and another do not (0)."""
    a, b = found.double(), wanted.double()
    hit_a, hit_b = (a * _near(b, tolerance)).sum((1, 2, 3)), (b * _near(a, tolerance)).sum((1, 2, 3))
    drawn_a, drawn_b = a.sum((1, 2, 3)), b.sum((1, 2, 3))
    precision, recall = hit_a / drawn_a.clamp_min(1), hit_b / drawn_b.clamp_min(1)
    f = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
    return f.where(drawn_a + drawn_b > 0, f.new_ones(()))


def known_error(x: Tensor, c: Tensor) -> Tensor:
    """Recovery: root mean square difference [N] at the known pixels; c is the picture and its mask."""
    picture, mask = c[:, :-1].double(), c[:, -1:].double()
    gap = (x.double() - picture).square() * mask
    return (gap.flatten(1).sum(1) / (mask.flatten(1).sum(1) * x.shape[1]).clamp_min(1)).sqrt()


def reduced_error(x: Tensor, c: Tensor, factor: int) -> Tensor:
    """Upscaling: root mean square difference [N] of x and c after both are reduced by ``factor``."""
    return rmse(F.avg_pool2d(x, factor), F.avg_pool2d(c, factor))


def luma_error(x: Tensor, c: Tensor) -> Tensor:
    """Colouring: root mean square difference [N] of the luma of x and the grey picture c."""
    return rmse(luma(x), c)


SCALES = (32, 16, 8)  # px across: where things are, not what they are covered with


def content_kept(x: Tensor, c: Tensor) -> Tensor:
    """Translation without pairs: does x [N, C, H, W] have edges where c has, and as steep? [N] in [-1, 1].

    Structure tensors of the luma, as double angles (|g| cos 2θ, |g| sin 2θ), correlated over the picture at
    several small scales: a line counts as the same whichever side of it is the brighter, so other colours,
    inverted contrast or a fine texture change little. 1 = as given; unrelated pictures have about 0.
    """
    scales = [s for s in SCALES if s <= min(x.shape[-1], c.shape[-1])]
    return torch.stack([_likeness(_angles(x, s), _angles(c, s)) for s in scales]).mean(0)


def _likeness(a: Tensor, b: Tensor) -> Tensor:
    """Cosine [N] of rows; two of nothing are alike, nothing and something are not."""
    length = a.norm(dim=1) * b.norm(dim=1)
    flat = (a.norm(dim=1) + b.norm(dim=1)) < 1e-9
    return torch.where(flat, torch.ones_like(length), (a * b).sum(1) / length.clamp_min(1e-18))


def _angles(x: Tensor, side: int) -> Tensor:
    """|g| at twice its angle, [N, 2 side²], of the luma reduced to ``side`` px."""
    small = F.pad(F.adaptive_avg_pool2d(luma(x).double(), side), (1, 1, 1, 1), mode="replicate")
    across = small[..., 1:-1, 2:] - small[..., 1:-1, :-2]
    down = small[..., 2:, 1:-1] - small[..., :-2, 1:-1]
    steep = (across.square() + down.square()).sqrt().clamp_min(1e-12)
    return torch.cat([(across.square() - down.square()) / steep, 2 * across * down / steep], 1).flatten(1)


def _near(a: Tensor, tolerance: int) -> Tensor:
    return F.max_pool2d(a, 2 * tolerance + 1, 1, tolerance) if tolerance else a
