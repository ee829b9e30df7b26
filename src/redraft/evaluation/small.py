"""The network of ``SmallFeatures``, small enough for the package; trained by scripts/make_features.py."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SmallNet(nn.Module):
    """RGB [N, 3, S, S] in [-1, 1], S = 32 or 64 -> [N, 128]; blur and noise are seen in the early stages."""

    features = 128
    mean: Tensor
    sd: Tensor
    widths = (16, 40, 80, 120)

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = self.widths
        self.stages = nn.ModuleList(
            [
                nn.Sequential(_conv(3, a, 1)),
                nn.Sequential(_conv(a, b, 2), _conv(b, b, 1)),
                nn.Sequential(_conv(b, c, 2), _conv(c, c, 1)),
                nn.Sequential(_conv(c, d, 2)),
            ]
        )
        self.embed = nn.Linear(2 * sum(self.widths), self.features)
        # Of real pictures: without them a few loud features would be the whole distance.
        self.register_buffer("mean", torch.zeros(self.features))
        self.register_buffer("sd", torch.ones(self.features))

    def embedding(self, x: Tensor) -> Tensor:
        pooled = []
        for stage in self.stages:
            x = stage(x)
            mean = x.mean((2, 3))
            pooled += [mean, ((x - mean[:, :, None, None]).square().mean((2, 3)) + 1e-4).sqrt()]
        return F.relu(self.embed(torch.cat(pooled, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return (self.embedding(x) - self.mean) / self.sd


def _conv(inside: int, outside: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())
