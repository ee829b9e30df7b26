"""A small StyleGAN2-like pair (Karras et al. 2020, arXiv:1912.04958), for pictures of about 28 to 128 px.

As published: a mapping network; convolutions whose weights the style modulates and demodulates; noise in
each layer; pictures of all sizes that add up (output skips); a residual discriminator; learning rates
equalised by scaling weights at run time, for Adam at 2e-3 with betas (0, 0.99).

Otherwise: the noise is a part of z, so that a picture is a function of (z, c) alone and can be made again,
and each channel learns how strong it is; no standard deviation over a minibatch, since the energy of a
picture must not depend on what is scored beside it; halving by means of 2 x 2 px; four mapping layers, not
eight; no path-length regularisation, mixing or truncation; tanh at the end, since pictures lie in [-1, 1]. A
category or a vector enters the mapping as a code, and the discriminator by projection (Miyato & Koyama 2018).
For no condition, a category or a vector: a picture condition is not theirs.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.filters import blur
from redraft.core.types import Spec
from redraft.nets.blocks import NoiseIn, code_of, code_width, depth_of, first_width, in_float32
from redraft.nets.parts import Code, Energy, Initializer

STYLE = 64  # numbers of a style
MAPPING = 4  # layers
SLOW = 0.01  # the mapping's learning rate as a part of the rest's


class StyleDecoder(Initializer):
    """z [N, *z_shape], condition -> x: z is flat, first ``z`` numbers for the mapping, then a map a layer."""

    def __init__(self, spec: Spec, width: int, z: int = 64) -> None:
        super().__init__()
        depth, width = depth_of(spec), first_width(spec, width)
        channels = [min(width * 2**i, width * 8) for i in range(depth, -1, -1)]
        sides = [spec.size >> i for i in range(depth, -1, -1)]
        self.z, self.sides = z, [sides[0], *(side for side in sides[1:] for _ in range(2))]
        self.z_shape = (z + sum(side**2 for side in self.sides),)
        self.embed = code_of(spec, code_width(spec))
        into = [z + code_width(spec), *[STYLE] * (MAPPING - 1)]
        self.mapping = nn.ModuleList(Linear(n, STYLE, rate=SLOW) for n in into)
        self.start = nn.Parameter(torch.randn(1, channels[0], sides[0], sides[0]))
        self.layers = nn.ModuleList([Styled(channels[0], channels[0])])
        for a, b in zip(channels, channels[1:], strict=False):
            self.layers.extend([Styled(a, b, grow=True), Styled(b, b)])
        self.pictures = nn.ModuleList(ToPicture(n, spec.channels) for n in channels)

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        z, *noises = z.split([self.z, *(side**2 for side in self.sides)], 1)
        style = self.style(z, c)
        h, x = self.start.expand(len(z), -1, -1, -1), None
        for i, (layer, noise, side) in enumerate(zip(self.layers, noises, self.sides, strict=True)):
            h = layer(h, style, noise.view(-1, 1, side, side))
            if i % 2 == 0:  # the last layer of its size
                more = self.pictures[i // 2](h, style)
                x = more if x is None else more + double(x)
        assert x is not None
        return torch.tanh(x.float())

    def style(self, z: Tensor, c: Tensor | None) -> Tensor:
        """The mapping network: z [N, z] and the condition, each at unit mean square -> w [N, 64]."""
        w = even(z) if self.embed is None else torch.cat([even(z), even(self.embed(c))], 1)
        for layer in self.mapping:
            w = rectified(layer(w))
        return w


SLOW = 0.1  # of the other weights' rate: noise that is learnt as fast becomes grain, for longer than minutes


class Styled(nn.Module):
    """[N, C, H, W], style, noise -> [N, out, H or 2H, ...]: a modulated convolution, noise, bias, leaky ReLU.

    The modulated weight is s_i w_oik over its norm for each output o (eq. 1 and 3): a scaling of inputs and
    outputs around one shared convolution, which is the same and needs no kernels of each picture's own.
    """

    def __init__(self, channels: int, out: int, grow: bool = False) -> None:
        super().__init__()
        self.grow, self.scale = grow, (9 * channels) ** -0.5
        self.weight = nn.Parameter(torch.randn(out, channels, 3, 3))
        self.modulate = Linear(STYLE, channels, bias=1.0)
        self.noise = NoiseIn(out)
        nn.init.constant_(self.noise.strength, 0.2)  # with SLOW 0.02; published: 0
        self.bias = nn.Parameter(torch.zeros(1, out, 1, 1))

    def forward(self, h: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        return rectified(self.noise(self.convolve(h, self.modulate(style)), SLOW * noise) + self.bias)

    def convolve(self, h: Tensor, s: Tensor) -> Tensor:
        """h convolved with the weights of each picture's scales s [N, C]."""
        weight = self.scale * self.weight
        with in_float32(h):
            norm = (s.float().square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()
        h = h * s[:, :, None, None]
        h = F.conv2d(F.interpolate(h, scale_factor=2) if self.grow else h, weight, padding=1)
        h = h * norm[:, :, None, None].to(h.dtype)
        return blur(h) if self.grow else h  # after the convolution there are fewer channels to blur


class ToPicture(nn.Module):
    """[N, C, H, W], style -> this size's part of the picture: modulated, not demodulated."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = Conv(channels, out, 1)
        self.modulate = Linear(STYLE, channels, bias=1.0)

    def forward(self, h: Tensor, style: Tensor) -> Tensor:
        return self.conv(h * self.modulate(style)[:, :, None, None])


class StyleEnergy(Energy):
    """E = −f: residual blocks down to 7 or 8 px, a hidden layer, a score, the condition's projection."""

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        depth, width = depth_of(spec), first_width(spec, width)
        channels = [min(width * 2**i, width * 8) // 2 for i in range(depth + 1)]
        top, side = channels[-1], spec.size >> depth
        self.first = Conv(spec.channels, channels[0], 1)
        self.down = nn.ModuleList(Shrink(a, b) for a, b in zip(channels, channels[1:], strict=False))
        self.mix = Conv(top, top, 3)
        self.hidden = Linear(top * side**2, top)
        self.out = Linear(top, 1)
        self.project = code_of(spec, top)
        self.scale = top**-0.5

    def encode(self, c: Tensor | None) -> Code:
        """The condition's code, ([N, top],); () where the space has neither category nor vector."""
        return () if self.project is None else (self.scale * self.project(c),)

    def forward(self, x: Tensor, code: Code) -> Tensor:
        h = rectified(self.first(x))
        for block in self.down:
            h = block(h)
        h = rectified(self.hidden(rectified(self.mix(h)).flatten(1)))
        with in_float32(h):
            h = h.float()
            f = self.out(h).squeeze(1)
            if code:
                f = f + (h * code[0].to(h.dtype)).sum(1)
            return -f


class Shrink(nn.Module):
    """[N, C, H, W] -> [N, out, H/2, W/2]: the mean, as variances go, of two convolutions and a short way."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([Conv(channels, channels, 3), Conv(channels, out, 3)])
        self.short = Conv(channels, out, 1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        short = self.short(F.avg_pool2d(h, 2))
        h = rectified(self.convs[1](F.avg_pool2d(rectified(self.convs[0](h)), 2)))
        return (h + short) * sqrt(0.5)


class Conv(nn.Module):
    """A convolution that keeps the size; weights N(0, 1), scaled at run time by 1/sqrt(fan in)."""

    def __init__(self, channels: int, out: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.scale = (channels * kernel**2) ** -0.5
        self.weight = nn.Parameter(torch.randn(out, channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None

    def forward(self, h: Tensor) -> Tensor:
        return F.conv2d(h, self.scale * self.weight, self.bias, padding=self.weight.shape[-1] // 2)


class Linear(nn.Module):
    """A dense layer scaled as ``Conv``; under Adam it learns at ``rate`` times the learning rate."""

    def __init__(self, inputs: int, out: int, *, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.rate, self.scale = rate, rate * inputs**-0.5
        self.weight = nn.Parameter(torch.randn(out, inputs) / rate)
        self.bias = nn.Parameter(torch.full((out,), bias / rate))

    def forward(self, h: Tensor) -> Tensor:
        return F.linear(h, self.scale * self.weight, self.rate * self.bias)


def rectified(h: Tensor) -> Tensor:
    """Leaky ReLU that keeps the mean square of a standard normal, nearly."""
    return F.leaky_relu(h, 0.2) * sqrt(2)


def even(h: Tensor) -> Tensor:
    """[N, D] at unit mean square."""
    return h * (h.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def double(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 2H, 2W] by the filter [1 3 3 1]."""
    return blur(F.interpolate(x, scale_factor=2))
