"""The generators of pytorch-CycleGAN-and-pix2pix and CUT, layer by layer as their files number them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORMS = {
    "batch": nn.BatchNorm2d,
    "instance": partial(nn.InstanceNorm2d, affine=False),
    "none": lambda channels: nn.Identity(),
}


class Filter(nn.Module):
    """A fixed filter, which the released files hold as ``filt``."""

    def __init__(self, channels: int, row: list[float], up: bool) -> None:
        super().__init__()
        r = torch.tensor(row) / sum(row)
        filt = (r[:, None] * r)[None, None].repeat(channels, 1, 1, 1)
        self.register_buffer("filt", 4 * filt if up else filt)
        self.up = up

    def forward(self, h: Tensor) -> Tensor:
        if self.up:  # written otherwise than in our network, for an independent look
            return F.interpolate(h, scale_factor=2, mode="bilinear")
        return F.conv2d(F.pad(h, (1, 1, 1, 1), "reflect"), self.filt, groups=h.shape[1])[:, :, ::2, ::2]


class Residual(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(*layers)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.conv_block(h)


class Model(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, c: Tensor) -> Tensor:
        return self.model(c)


def resnet(
    given: int, made: int, w: int, blocks: int, norm: str, *, dropout: bool, smooth: tuple[bool, bool]
) -> nn.Module:
    layer, bias = NORMS[norm], norm == "instance"
    down, up = smooth

    def after(n: int) -> list[nn.Module]:
        return [layer(n), nn.ReLU()]

    def half(n: int) -> list[nn.Module]:
        conv = nn.Conv2d(n, 2 * n, 3, 1 if down else 2, 1, bias=bias)
        return [conv, *after(2 * n), *([Filter(2 * n, [1, 2, 1], False)] if down else [])]

    def twice(n: int) -> list[nn.Module]:
        if up:
            conv = nn.Conv2d(n, n // 2, 3, 1, 1, bias=bias)
            return [Filter(n, [1, 3, 3, 1], True), conv, *after(n // 2)]
        return [nn.ConvTranspose2d(n, n // 2, 3, 2, 1, 1, bias=bias), *after(n // 2)]

    def block(n: int) -> nn.Module:
        first = [nn.ReflectionPad2d(1), nn.Conv2d(n, n, 3, bias=bias), *after(n)]
        rest = [nn.ReflectionPad2d(1), nn.Conv2d(n, n, 3, bias=bias), layer(n)]
        return Residual([*first, *([nn.Dropout(0.5)] if dropout else []), *rest])

    stem = [nn.ReflectionPad2d(3), nn.Conv2d(given, w, 7, bias=bias), *after(w)]
    end = [nn.ReflectionPad2d(3), nn.Conv2d(w, made, 7), nn.Tanh()]
    middle = [block(4 * w) for _ in range(blocks)]
    return Model(*stem, *half(w), *half(2 * w), *middle, *twice(4 * w), *twice(2 * w), *end)


class Level(nn.Module):
    """A U-Net's level around a deeper one."""

    def __init__(self, layers: list[nn.Module], outermost: bool) -> None:
        super().__init__()
        self.model, self.outermost = nn.Sequential(*layers), outermost

    def forward(self, h: Tensor) -> Tensor:
        return self.model(h) if self.outermost else torch.cat([h, self.model(h)], 1)


def unet(given: int, made: int, w: int, depth: int, norm: str) -> nn.Module:
    layer, bias = NORMS[norm], norm == "instance"
    widths = [w * min(2**i, 8) for i in range(depth)]
    inner: Any = None
    for i in reversed(range(depth)):
        into, out = ([given, *widths][i], made) if i == 0 else (widths[i - 1], widths[i - 1])
        down = nn.Conv2d(into, widths[i], 4, 2, 1, bias=bias)
        both = widths[i] * (1 if inner is None else 2)
        up = nn.ConvTranspose2d(both, out, 4, 2, 1, bias=bias or i == 0)
        if i == 0:
            layers = [down, inner, nn.ReLU(), up, nn.Tanh()]
        elif inner is None:
            layers = [nn.LeakyReLU(0.2), down, nn.ReLU(), up, layer(out)]
        else:
            layers = [nn.LeakyReLU(0.2), down, layer(widths[i]), inner, nn.ReLU(), up, layer(out)]
        inner = Level(layers, outermost=i == 0)
    net = nn.Module()
    net.model, net.forward = inner, inner.forward  # type: ignore[method-assign]
    return net


def shaken(net: nn.Module, size: int, given: int) -> nn.Module:
    """Weights and running statistics that are not those of the start."""
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * (0.1 if p.ndim > 1 else 0.3) + (p.ndim == 1) * 0.5)
        net.train()
        for _ in range(2):
            net(torch.randn(2, given, size, size, generator=g))
    return net.eval()
