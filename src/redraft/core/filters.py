"""Fixed filters on pictures."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def blur(x: Tensor) -> Tensor:
    """Binomial [1 2 1] blur of [N, C, H, W] in both directions, edges repeated."""
    row = x.new_tensor([0.25, 0.5, 0.25])
    c = x.shape[1]
    kernel = (row[:, None] * row[None]).expand(c, 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=c)
