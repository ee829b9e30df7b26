"""What pictures are compared by. The name of the features stands beside every number made of them."""

from __future__ import annotations

from importlib import resources
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import RedraftError
from redraft.evaluation.small import SmallNet
from redraft.nets.experts.efficientnet import lite0

BATCH = 128  # pictures a pass


class Features(Protocol):
    """A picture's description: x [N, C, H, W] in [-1, 1], C 1 or 3, any size -> [N, D] float32."""

    @property
    def name(self) -> str:
        """Printed with every number that the features gave."""
        ...

    def __call__(self, x: Tensor) -> Tensor: ...


class SmallFeatures:
    """``redraft-small-1``: 128 features of a network of 0.26 M weights that is in the package.

    Trained on Fashion-MNIST and Noto Emoji alone (scripts/make_features.py). Good for telling drafts from
    refined pictures and one's own runs apart, offline; its numbers mean nothing beside published ones, and it
    knows little of photographs. Pictures up to 40 px are seen at 32 px, larger ones at 64.
    """

    name = "redraft-small-1"

    def __init__(self, device: torch.device | str = "cpu") -> None:
        from safetensors.torch import load

        file = resources.files("redraft.evaluation") / "weights" / f"{self.name}.safetensors"
        weights = {k: v.float() for k, v in load(file.read_bytes()).items()}
        self.net = SmallNet()
        self.net.load_state_dict(weights, strict=False)  # BatchNorm's step counts are not kept
        self.net.to(device).eval().requires_grad_(False)

    def __call__(self, x: Tensor) -> Tensor:
        return in_batches(self.net, rgb(x, 32 if max(x.shape[-2:]) <= 40 else 64))


class JudgeFeatures:
    """The last hidden layer of a classifier that was trained on the user's own categories."""

    def __init__(self, judge: Any) -> None:
        self.judge, self.name = judge, "judge"

    def __call__(self, x: Tensor) -> Tensor:
        return in_batches(self.judge.hidden, x)


class EfficientNetLite:
    """EfficientNet-Lite0 trained on ImageNet, mean-pooled: 1,280 features at 96 px (extra ``metrics``)."""

    name = "EfficientNet-Lite0"

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.net: Any = lite0().to(device).requires_grad_(False)

    def __call__(self, x: Tensor) -> Tensor:
        def pooled(x: Tensor) -> Tensor:
            x = x.contiguous(memory_format=torch.channels_last)
            return self.net.extract_features(x).mean((2, 3))

        return in_batches(pooled, rgb(x, 96))


class Inception:
    """The Inception of published FID and KID (torch-fidelity, which brings or downloads its weights)."""

    name = "Inception"

    def __init__(self, device: torch.device | str = "cpu") -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except (ImportError, RuntimeError) as problem:
            text = f"Inception features need torch-fidelity and a torchvision that loads ({problem})."
            raise RedraftError(text) from None
        try:
            self.net = FeatureExtractorInceptionV3("inception", ["2048"]).to(device).eval()
        except OSError as problem:
            raise RedraftError(f"The weights of Inception cannot be had: {problem}.") from None

    def __call__(self, x: Tensor) -> Tensor:
        bytes_ = ((x.expand(-1, 3, -1, -1).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return in_batches(lambda x: self.net(x)[0], bytes_)


FEATURES: dict[str, type[SmallFeatures] | type[EfficientNetLite] | type[Inception]] = {
    "small": SmallFeatures,
    "efficientnet": EfficientNetLite,
    "inception": Inception,
}


def rgb(x: Tensor, size: int) -> Tensor:
    """[N, 1 or 3, H, W] -> RGB [N, 3, size, size].

    Larger pictures are reduced with antialiasing. A little smaller ones get a border instead of being
    enlarged, which would smooth away the very grids and noise that are looked for.
    """
    x = x.expand(-1, 3, -1, -1)
    h, w = x.shape[-2:]
    if size * 3 // 4 <= min(h, w) and max(h, w) <= size:
        top, left = (size - h) // 2, (size - w) // 2
        return F.pad(x, (left, size - w - left, top, size - h - top), mode="replicate")
    return F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)


@torch.no_grad()
def in_batches(f: nn.Module | Any, x: Tensor) -> Tensor:
    """f over x, 128 pictures at a time."""
    return torch.cat([f(part) for part in x.split(BATCH)])
