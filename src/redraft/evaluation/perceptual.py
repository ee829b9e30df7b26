"""How different two pictures look, with a slope: distances in the maps of the package's own small network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from redraft.evaluation.features import SmallFeatures

TINY = 1e-6  # beside a squared length: a place where all channels are silent is no direction


class SmallDistance:
    """``SmallDistance()(x, y)``: distance [N] of x and y [N, C, H, W] in [-1, 1], C 1 or 3; 0 = alike.

    As LPIPS (Zhang et al. 2018, arXiv:1801.03924): at each place of each stage's map the channels are scaled
    to a unit vector, and squared differences are summed over channels, averaged over places and stages. The
    network is that of ``SmallFeatures``, unweighted, on pictures as large as they are. It
    follows the pictures to their device.
    """

    def __init__(self) -> None:
        self.stages = nn.ModuleList(map(_folded, SmallFeatures().net.stages))

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        if next(self.stages.parameters()).device != x.device:
            self.stages.to(x.device)
        with torch.no_grad():
            theirs = self._maps(y)
        gaps = [_gap(a, b) for a, b in zip(self._maps(x), theirs, strict=True)]
        return torch.stack(gaps).mean(0)

    def _maps(self, x: Tensor) -> list[Tensor]:
        # a CPU's convolutions of few channels are twice as fast in this layout
        h, maps = x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last), []
        for stage in self.stages:
            h = stage(h)
            maps.append(h)
        return maps


def _gap(a: Tensor, b: Tensor) -> Tensor:
    """mean over places of |a/|a| − b/|b||² [N], from products alone, which is quicker."""
    aa, bb, ab = (u.mul(v).sum(1) for u, v in ((a, a), (b, b), (a, b)))
    ra, rb = (aa + TINY).rsqrt(), (bb + TINY).rsqrt()
    return (aa * ra.square() + bb * rb.square() - 2 * ab * ra * rb).mean((1, 2))


def _folded(stage: nn.Module) -> nn.Sequential:
    """A stage of ``SmallNet`` with each normalisation inside the convolution before it: a third faster."""
    layers: list[nn.Module] = []
    for block in stage.children():
        conv, norm, relu = block.children()
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        layers += [fuse_conv_bn_eval(conv, norm), relu]
    return nn.Sequential(*layers).requires_grad_(False)
