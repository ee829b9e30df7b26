"""Edge drawings made from photos: dark thin lines on white paper."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.core.filters import blur


def draw_edges(x: Tensor, low: float = 0.10, high: float = 0.35) -> Tensor:
    """Photos [N, C, H, W] in [-1, 1] -> drawings [N, 1, H, W] in [-1, 1]; -1 is the line, 1 the paper.

    Canny's first three steps (Canny 1986): a blur, Scharr gradients (the strongest channel's), thinning
    across the gradient; then a soft threshold between ``low`` and ``high`` (change of brightness a pixel).
    """
    smooth = F.pad(blur(x), (1, 1, 1, 1), mode="replicate")
    taps = x.new_tensor([[-3.0, 0.0, 3.0], [-10.0, 0.0, 10.0], [-3.0, 0.0, 3.0]]) / 32
    n, c, h, w = x.shape
    flat = smooth.reshape(n * c, 1, h + 2, w + 2)
    gx = F.conv2d(flat, taps[None, None]).view(n, c, h, w)
    gy = F.conv2d(flat, taps.T[None, None]).view(n, c, h, w)
    strength, channel = (gx.square() + gy.square()).sqrt().max(1, keepdim=True)
    gx, gy = gx.gather(1, channel).abs(), gy.gather(1, channel).abs()
    p = F.pad(strength, (1, 1, 1, 1))
    across_x = (strength >= p[..., 1:-1, :-2]) & (strength > p[..., 1:-1, 2:])
    across_y = (strength >= p[..., :-2, 1:-1]) & (strength > p[..., 2:, 1:-1])
    crest = torch.where(gx >= gy, across_x, across_y)
    ink = ((strength - low) / (high - low)).clamp(0, 1) * crest
    return 1 - 2 * ink
