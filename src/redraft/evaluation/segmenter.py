"""A small segmenter, trained here on the training pairs: is each part where the label map puts it?"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.evaluation.features import in_batches
from redraft.evaluation.fit import cached, content_key, fit, seeded
from redraft.evaluation.table import Interval, ends, resample

SEEN = 5_000  # pictures that a training passes
SIDE = 64  # px; larger pictures are seen at this size


class Segmenter(nn.Module):
    """Photos [N, C, H, W] in [-1, 1] -> label logits [N, K, 64, 64] (or H, W where those are smaller)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.fine = _block(channels + 2, 24, 2)  # + where in the picture
        self.middle = _block(24, 48, 2)
        self.coarse = nn.Sequential(_block(48, 96, 2), _block(96, 96, 1), _block(96, 48, 1))
        self.join = _block(48 + 48, 48, 1)
        self.out = nn.Sequential(_block(48 + 24, 48, 1), nn.Conv2d(48, 4 * classes, 1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        x = seen(x)
        size = x.shape[-2:]
        x = F.pad(x, (0, -size[1] % 8, 0, -size[0] % 8), mode="replicate")
        fine = self.fine(torch.cat([x, _where(x)], 1))
        middle = self.middle(fine)
        middle = self.join(torch.cat([middle, _up(self.coarse(middle))], 1))
        return self.out(torch.cat([fine, _up(middle)], 1))[..., : size[0], : size[1]]


def train_segmenter(x: Tensor, shares: Tensor, *, cache: Path | None = None) -> Segmenter:
    """Train on photos x [N, C, H, W] and label shares [N, K, H, W]; half of the batches are mirrored."""
    classes = shares.shape[1]
    net = seeded(lambda: Segmenter(x.shape[1], classes)).to(x.device)
    labels = label_map(shares)
    x = seen(x)
    often = torch.bincount(labels.flatten(), minlength=classes).double() + 1
    weight = (often.sum() / often).sqrt()  # rare labels count more, but not as much as they are rare
    weight = (weight / weight.mean()).float()
    batch = 16

    def loss(chosen: Tensor, g: torch.Generator) -> Tensor:
        a, b = x[chosen], labels[chosen]
        if torch.rand((), generator=g) < 0.5:
            a, b = a.flip(3), b.flip(2)
        return F.cross_entropy(net(a), b, weight)

    key = content_key("segmenter", x, labels, classes, SEEN)
    cached(net, cache, key, lambda: fit(net, loss, len(x), steps=SEEN // batch, batch=batch, lr=4e-3))
    return net


def seen(x: Tensor) -> Tensor:
    """Pictures as the segmenter sees them: at most 64 px."""
    if max(x.shape[-2:]) <= SIDE:
        return x
    return F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True)


def label_map(shares: Tensor) -> Tensor:
    """Shares [N, K, H, W] -> the likeliest label, int64 [N, H, W], at the segmenter's size."""
    if max(shares.shape[-2:]) > SIDE:
        shares = F.adaptive_avg_pool2d(shares, SIDE)
    return shares.argmax(1)


def confusion(net: Segmenter, x: Tensor, shares: Tensor) -> Tensor:
    """For each picture how many pixels of label i were seen as label j: float64 [N, K, K]."""
    truth, k = label_map(shares), shares.shape[1]
    found = in_batches(lambda x: net(x).argmax(1), x)
    flat = (truth * k + found).flatten(1)
    counts = flat.new_zeros(len(x), k * k).scatter_add_(1, flat, torch.ones_like(flat))
    return counts.view(-1, k, k).double()


def mean_iou(confusions: Tensor) -> Interval:
    """Mean over the labels that occur of intersection over union, [N, K, K] summed over pictures.

    The interval is the bootstrap's over pictures.
    """
    confusions = confusions.cpu()
    chosen = resample(len(confusions), 500)
    counts = torch.zeros(len(chosen), len(confusions), dtype=torch.float64)
    counts.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=torch.float64))
    draws = (counts @ confusions.flatten(1)).view(-1, *confusions.shape[1:])
    return Interval(_iou(confusions.sum(0, keepdim=True)).item(), *ends(_iou(draws)))


def _iou(c: Tensor) -> Tensor:
    both = c.diagonal(dim1=-2, dim2=-1)
    either = c.sum(-1) + c.sum(-2) - both
    there = c.sum(-1) > 0
    return torch.where(there, both / either.clamp_min(1), 0).sum(-1) / there.sum(-1).clamp_min(1)


def _where(x: Tensor) -> Tensor:
    n, _, h, w = x.shape
    y = torch.linspace(-1, 1, h, device=x.device)[:, None].expand(h, w)
    z = torch.linspace(-1, 1, w, device=x.device).abs()[None].expand(h, w)  # mirrored pictures look alike
    return torch.stack([y, z]).expand(n, 2, h, w)


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _block(inside: int, outside: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())
