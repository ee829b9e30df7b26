"""How far a picture is from the true one; x, y [N, C, H, W] in [-1, 1], one value a picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def rmse(x: Tensor, y: Tensor) -> Tensor:
    """Root mean square difference [N], in units of x (the range is 2 wide)."""
    return (x.double() - y.double()).flatten(1).square().mean(1).sqrt()


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal to noise ratio [N] in dB, peak 2; of equal pictures 100 rather than infinite."""
    return (20 * torch.log10(2 / rmse(x, y))).clamp_max(100)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity [N] (Wang et al. 2004): Gaussian window of 11 px, sd 1.5, K = .01, .03.

    The window lies inside the picture; on pictures under 11 px it is the largest odd size that does.
    """
    x, y = x.double(), y.double()
    side = min(11, (min(x.shape[-2:]) - 1) // 2 * 2 + 1)
    line = torch.arange(side, dtype=x.dtype, device=x.device) - side // 2
    line = torch.exp(-line.square() / (2 * 1.5**2))
    line = line / line.sum()

    def mean(a: Tensor) -> Tensor:
        n, c, h, w = a.shape
        a = F.conv2d(a.reshape(n * c, 1, h, w), line[None, None, None])
        a = F.conv2d(a, line[None, None, :, None])
        return a.reshape(n, c, *a.shape[-2:])

    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    index = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return index.flatten(1).mean(1)
