"""``image:timm/NAME``: any network of timm's, pooled; timm needs a torchvision that loads."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from redraft.core.errors import UsageError
from redraft.nets.experts.expert import Expert, Shape
from redraft.nets.experts.hugging import quiet

GET = "pip install timm, with the torchvision that fits your torch"


class Timm(Expert):
    """Features of a classifier, pooled: (D,), of pictures at their own size."""

    net: Any
    mean: Tensor
    std: Tensor

    def __init__(self, net: Any, name: str) -> None:
        super().__init__(
            net,
            name=f"image:timm/{name}",
            kind="image",
            meaning=f"features of timm's {name}",
            licence="its model card's",
        )
        config = net.pretrained_cfg
        for what in ("mean", "std"):  # of pictures in [0, 1], as the network was trained
            self.register_buffer(what, torch.tensor(config[what]).view(3, 1, 1))

    def shape(self, size: int) -> Shape:
        return (int(self.net.num_features),)

    def represent(self, given: Tensor) -> Tensor:
        return self.net(((given + 1) / 2 - self.mean) / self.std)


def by_name(name: str) -> Timm:
    """UsageError where timm, the network or its weights cannot be had."""
    try:
        timm = importlib.import_module("timm")
    except (ImportError, RuntimeError) as problem:  # RuntimeError: a torchvision for another torch
        raise UsageError(
            f"image:timm/{name} needs timm, which cannot be imported here ({problem}): {GET}; "
            "or use image:efficientnet-lite0."
        ) from None
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            return Timm(timm.create_model(name, pretrained=True, num_classes=0), name)
    except (OSError, RuntimeError, ValueError) as problem:  # unknown, or its weights are out of reach
        raise UsageError(
            f"image:timm/{name} cannot be had ({problem}): fetch it where there is a network, or use "
            "image:efficientnet-lite0, which needs none."
        ) from None
