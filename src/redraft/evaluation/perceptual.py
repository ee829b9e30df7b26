"""How different two pictures look, with a slope: distances in the maps of the package's own small network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.evaluation.features import SmallFeatures


class SmallDistance:
    """``SmallDistance()(x, y)``: distance [N] of x and y [N, C, H, W] in [-1, 1], C 1 or 3; 0 = alike.

    As LPIPS (Zhang et al. 2018, arXiv:1801.03924): at each place of each stage's map the channels are scaled
    to a unit vector, and squared differences are summed over channels, averaged over places and stages. The
    network is that of ``SmallFeatures``, unweighted, on pictures as large as they are. It
    follows the pictures to their device.
    """

    def __init__(self) -> None:
        self.net = SmallFeatures().net

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        if next(self.net.parameters()).device != x.device:
            self.net.to(x.device)
        with torch.no_grad():
            theirs = self._maps(y)
        gaps = [(a - b).square().sum(1).mean((1, 2)) for a, b in zip(self._maps(x), theirs, strict=True)]
        return torch.stack(gaps).mean(0)

    def _maps(self, x: Tensor) -> list[Tensor]:
        h, maps = x.expand(-1, 3, -1, -1), []
        for stage in self.net.stages:
            h = stage(h)
            maps.append(F.normalize(h, dim=1, eps=1e-6))
        return maps
