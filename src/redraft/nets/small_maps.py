"""Convolutions over small maps as matrix products: the same numbers, several times as fast on a CPU."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

LARGE = 2**16  # numbers in a kernel: below, neither way costs anything
Pair = tuple[int, int]


class Conv(nn.Conv2d):
    """``nn.Conv2d`` of one group with zero padding (a number, not "same") and no dilation."""

    kernel_size: Pair
    stride: Pair
    padding: Pair

    def forward(self, x: Tensor) -> Tensor:
        given = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
        sides = [(side + 2 * padding - kernel) // stride + 1 for side, kernel, stride, padding in given]
        if not small(len(x) * prod(sides), self.weight):
            return super().forward(x)
        fields = F.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        y = self.weight.flatten(1) @ fields.transpose(0, 1).flatten(1)
        if self.bias is not None:
            y = y + self.bias[:, None]
        return y.view(-1, len(x), *sides).transpose(0, 1)


class ConvTranspose(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` of one group, without dilation or output padding."""

    kernel_size: Pair
    stride: Pair
    padding: Pair

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        n, _, h, w = x.shape
        if output_size is not None or not small(n * h * w, self.weight):
            return super().forward(x, output_size)
        given = zip((h, w), self.kernel_size, self.stride, self.padding, strict=True)
        sides = [(side - 1) * stride - 2 * padding + kernel for side, kernel, stride, padding in given]
        # places are rows: from this side MKL streams a large kernel 1.5 to 3 times as fast
        fields = x.permute(0, 2, 3, 1).flatten(0, 2) @ self.weight.flatten(1)
        fields = fields.view(n, h * w, -1).transpose(1, 2)
        y = F.fold(fields, tuple(sides), self.kernel_size, padding=self.padding, stride=self.stride)
        return y if self.bias is None else y + self.bias[:, None, None]


def small(places: int, weight: Tensor) -> bool:
    """Whether a kernel is large beside the map that it is applied to, on a CPU.

    oneDNN rearranges the kernel on every call, and its gradient too; a product has to lay out the
    fields instead. The second costs less where there are at most half as many places, over the whole
    batch, as the kernel has channels on that side (measured: docs/results/speed.md). A kernel that lies
    channels-last, as in a Langevin chain, is not rearranged, and a product would have to.
    """
    if weight.device.type != "cpu" or weight.numel() < LARGE or not weight.is_contiguous():
        return False
    return 2 * places <= weight.shape[0]
