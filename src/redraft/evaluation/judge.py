"""A small classifier, trained here on the training pictures: does a picture show the category it should?"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.evaluation.features import in_batches
from redraft.evaluation.fit import cached, content_key, fit, seeded

SEEN = 40_000  # pictures that a training passes
BATCH = 64


class Judge(nn.Module):
    """x [N, C, H, W] in [-1, 1] -> logits [N, K]; larger pictures are seen at 32 px."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.hidden_net = nn.Sequential(
            _block(channels, 32, 2), _block(32, 64), nn.MaxPool2d(2), _block(64, 96),
            nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(864, 128), nn.ReLU(),
        )  # fmt: skip
        self.out = nn.Linear(128, classes)

    def hidden(self, x: Tensor) -> Tensor:
        """The last hidden layer, [N, 128]."""
        if max(x.shape[-2:]) > 32:
            x = F.interpolate(x, size=(32, 32), mode="bilinear", antialias=True)
        return self.hidden_net(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x))


def train_judge(x: Tensor, y: Tensor, classes: int, *, cache: Path | None = None) -> Judge:
    """Train on pictures x [N, C, H, W] and categories y int64 [N]; half of the batches are mirrored.

    The same data give the same judge; ``cache`` is a folder to keep it in.
    """
    judge = seeded(lambda: Judge(x.shape[1], classes)).to(x.device)
    steps = SEEN // BATCH

    def loss(chosen: Tensor, g: torch.Generator) -> Tensor:
        seen = x[chosen].flip(3) if torch.rand((), generator=g) < 0.5 else x[chosen]
        return F.cross_entropy(judge(seen), y[chosen])

    key = content_key("judge", x, y, classes, steps)
    cached(judge, cache, key, lambda: fit(judge, loss, len(x), steps=steps, batch=BATCH, lr=3e-3))
    return judge


def agreement(judge: Judge, x: Tensor, c: Tensor) -> Tensor:
    """1 where the judge sees the category that was asked for, else 0: float64 [N]."""
    return (in_batches(judge, x).argmax(1) == c).double()


def doubt(judge: Judge, x: Tensor, c: Tensor) -> Tensor:
    """1 - p(c | x) by the judge [N]: an error for pictures that have no single truth."""
    p = in_batches(judge, x).softmax(1)
    return 1 - p.gather(1, c[:, None])[:, 0]


def _block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())
