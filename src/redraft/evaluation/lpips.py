"""LPIPS v0.1 with AlexNet (Zhang et al. 2018, arXiv:1801.03924), where the user has its weights.

The weights (10 MB) are not in the package: one safetensors file with torchvision's ``features.*`` of AlexNet
and LPIPS's ``lin0`` to ``lin4``, named by the environment variable ``REDRAFT_LPIPS``.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import RedraftError

SMALLEST = 64  # px; AlexNet's strides leave nothing of less


class Lpips(nn.Module):
    """``Lpips.find()(x, y)``: distance [N] of x and y [N, C, H, W] in [-1, 1], C 1 or 3; 0 = alike.

    Pictures under 64 px are enlarged to 64 first, which the published measure does not do.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        for i, width in enumerate((64, 192, 384, 256, 256)):
            self.add_module(f"lin{i}", nn.Conv2d(width, 1, 1, bias=False))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1), persistent=False)

    @staticmethod
    def find(file: str | Path | None = None) -> Lpips | None:
        """The network with the weights of ``file`` or of $REDRAFT_LPIPS; None where neither is given."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = file or os.environ.get("REDRAFT_LPIPS")
        if not file:
            return None
        net = Lpips()
        try:
            net.load_state_dict(load_file(file))
        except (OSError, SafetensorError, RuntimeError) as problem:
            line = str(problem).splitlines()[0]
            raise RedraftError(f"REDRAFT_LPIPS: {file} does not hold LPIPS-alex weights ({line}).") from None
        return net.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for i, (a, b) in enumerate(zip(self._taps(x), self._taps(y), strict=True)):
            gap = (F.normalize(a, dim=1, eps=1e-10) - F.normalize(b, dim=1, eps=1e-10)).square()
            total = total + self.get_submodule(f"lin{i}")(gap).mean((1, 2, 3))
        return total

    def _taps(self, x: Tensor) -> list[Tensor]:
        x = x.expand(-1, 3, -1, -1)
        if min(x.shape[-2:]) < SMALLEST:
            x = F.interpolate(x, size=(SMALLEST, SMALLEST), mode="bilinear")
        x = (x - self.shift) / self.scale
        taps = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                taps.append(x)
        return taps
