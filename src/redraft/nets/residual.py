"""A residual GAN pair: a discriminator with spectral norm and projection, and a class-conditional generator.

Miyato et al. 2018, "Spectral Normalization for GANs" (arXiv:1802.05957), and Miyato & Koyama 2018, "cGANs
with Projection Discriminator" (arXiv:1802.05637), at a width that a CPU can train, with leaky ReLU and SiLU
in place of ReLU. For no condition, a category or a vector: a picture condition is not theirs.

The generator is normalised by groups, not by batches as published: a made picture is then a function of its
own z and c, whatever else is made beside it, and there are no running statistics that training, its moving
average and a resumed run would each have to agree on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from redraft.core.filters import blur
from redraft.core.types import Spec
from redraft.nets.blocks import (
    FiLMNorm,
    code_of,
    code_width,
    dense,
    depth_of,
    first_width,
    halvings,
    in_float32,
    rows_of,
)
from redraft.nets.parts import Code, Energy, Initializer


class ResidualEnergy(Energy):
    """E = −f(x, c); f is a linear score of the summed last features, plus their product with the category's.

    Every weight matrix has spectral norm 1 (of a kernel as the matrix [out, in·k·k]; not of the convolution
    as an operator, whose norm depends on the picture's size). One step of power iteration in each training
    pass keeps it so; in eval mode nothing moves, and E is a pure function of x and c.
    """

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        whole, width = dense(spec) or not halvings(spec.size), first_width(spec, width)
        depth = depth_of(spec) + whole
        channels = [spec.channels, *(min(width * 2**i, width * 8) for i in range(depth))]
        self.first: nn.Module
        if whole:
            self.first = spectral_norm(Conv(channels[0], channels[1], 3, 1, 1))
        else:
            self.first = Shrink(channels[0], channels[1], first=True)
        self.down = nn.ModuleList(Shrink(a, b) for a, b in zip(channels[1:], channels[2:], strict=False))
        top = channels[-1]
        self.last = Same(top)
        self.out = spectral_norm(Linear(top, 1))
        self.project, self.scale = (
            None,
            rows_of(spec) ** -0.5,
        )  # a vector's code is no longer than a category's
        if spec.condition == "category":
            self.project = spectral_norm(Embedding(spec.width, top))
        if spec.condition == "vector":
            self.project = spectral_norm(Linear(spec.width, top))

    def encode(self, c: Tensor | None) -> Code:
        """The condition's code, ([N, top],); () where the space has neither category nor vector."""
        return () if self.project is None else (self.scale * self.project(c),)

    def forward(self, x: Tensor, code: Code) -> Tensor:
        h = self.first(x)
        for block in self.down:
            h = block(h)
        h = F.leaky_relu(self.last(h), 0.2)
        with in_float32(h):
            h = h.float().sum((2, 3))
            f = self.out(h).squeeze(1)
            if code:
                f = f + (h * code[0].to(h.dtype)).sum(1)
            return -f


class ResidualDecoder(Initializer):
    """[z; condition] -> linear -> residual blocks, each twice as large -> norm -> 3x3 convolution -> tanh.

    Norms take scale and shift from all of [z; condition]; without a condition that is self-modulation
    (Chen et al. 2019, arXiv:1810.01365).
    """

    def __init__(self, spec: Spec, width: int, z: int = 64) -> None:
        super().__init__()
        self.z_shape = (z,)
        depth, width = depth_of(spec), first_width(spec, width)
        self.side = spec.size >> depth
        channels = [min(width * 2**i, width * 8) for i in range(depth, -1, -1)]
        self.embed = code_of(spec, code_width(spec))
        code = z + code_width(spec)
        self.first = nn.Linear(code, channels[0] * self.side**2)
        self.up = nn.ModuleList(Grow(a, b, code) for a, b in zip(channels, channels[1:], strict=False))
        self.norm = FiLMNorm(channels[-1], code)
        self.out = nn.Conv2d(channels[-1], spec.channels, 3, 1, 1)

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        code = z if self.embed is None else torch.cat([z, self.embed(c)], 1)
        h = self.first(code).view(len(z), -1, self.side, self.side)
        for block in self.up:
            h = block(h, code)
        return torch.tanh(self.out(F.silu(self.norm(h, code))).float())


class Grow(nn.Module):
    """[N, C, H, W], code [N, D] -> [N, out, 2H, 2W]: a residual block whose shortcut is resized and mixed."""

    def __init__(self, channels: int, out: int, code: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([FiLMNorm(channels, code), FiLMNorm(out, code)])
        self.convs = nn.ModuleList([nn.Conv2d(channels, out, 3, 1, 1), nn.Conv2d(out, out, 3, 1, 1)])
        self.short = nn.Conv2d(channels, out, 1, bias=False)

    def forward(self, h: Tensor, code: Tensor) -> Tensor:
        short = self.short(h)  # mixing channels and resizing commute
        h = self.convs[0](F.interpolate(F.silu(self.norms[0](h, code)), scale_factor=2))
        h = self.convs[1](F.silu(self.norms[1](blur(h), code)))  # repeated pixels alone leave a grid
        return h + blur(F.interpolate(short, scale_factor=2))


class Shrink(nn.Module):
    """[N, C, H, W] -> [N, out, H/2, W/2]: a residual block with an averaged shortcut.

    The mean is taken before the second convolution, at a quarter of the cost of the paper's, after it; a
    convolution of stride 2 would cost as little, but leaves a grid in the gradients that the generator gets.
    A network's first block does not rectify the picture itself.
    """

    def __init__(self, channels: int, out: int, first: bool = False) -> None:
        super().__init__()
        inner = out // 2 if first else channels
        self.first = first
        self.convs = nn.ModuleList(
            [spectral_norm(Conv(channels, inner, 3, 1, 1)), spectral_norm(Conv(inner, out, 3, 1, 1))]
        )
        self.short = spectral_norm(Conv(channels, out, 1))

    def forward(self, h: Tensor) -> Tensor:
        short = self.short(F.avg_pool2d(h, 2))
        h = self.convs[0](h if self.first else F.leaky_relu(h, 0.2))
        return short + self.convs[1](F.avg_pool2d(F.leaky_relu(h, 0.2), 2))


class Same(nn.Module):
    """A residual block that keeps channels and size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([spectral_norm(Conv(channels, channels, 3, 1, 1)) for _ in range(2)])

    def forward(self, h: Tensor) -> Tensor:
        inner = self.convs[0](F.leaky_relu(h, 0.2))
        return h + self.convs[1](F.leaky_relu(inner, 0.2))


class Conv(nn.Conv2d):
    """A convolution whose (normalised) weight is computed in float32 under autocast too."""

    def forward(self, x: Tensor) -> Tensor:
        with in_float32(x):
            weight = self.weight
        return self._conv_forward(x, weight, self.bias)


class Linear(nn.Linear):
    """As ``Conv``."""

    def forward(self, x: Tensor) -> Tensor:
        with in_float32(x):
            weight = self.weight
        return F.linear(x, weight, self.bias)


class Embedding(nn.Embedding):
    """As ``Conv``."""

    def forward(self, c: Tensor) -> Tensor:
        with in_float32(c):
            return F.embedding(c, self.weight)
