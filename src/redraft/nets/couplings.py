"""Invertible layers with exact log-determinants, and the networks that steer them.

A layer has two verbs, x lying toward the data and v toward the noise, of vectors [N, d] or maps [N, C, H, W]:

    layer.inverse(x, h) -> (v, logdet)      training's way, x to v
    layer(v, h)         -> (x, logdet)      sampling's way, v to x

Both tell the same log|det ∂v/∂x| [N], so that either alone gives log p. ``h`` is what the flow keeps of the
condition for the two networks of this block, or None.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from redraft.nets.blocks import in_float32

Told = tuple[Tensor, Tensor] | None
Moved = tuple[Tensor, Tensor]  # where the numbers went, log|det ∂v/∂x| [N]
Kind = Literal["affine", "tanh", "spline"]
SLOPE = 0.01  # of every leaky ReLU, as published
FLOOR = 0.01  # least standard deviation at the start, in units of all channels' root mean square


class ActNorm(nn.Module):
    """v = exp(scale) · (x + shift), one of each a channel, set from data once (Glow; Net2Net's code).

    Published: the scale itself is the parameter. Its logarithm cannot pass through 0 in training.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.scale = nn.Parameter(torch.zeros(channels))

    @torch.no_grad()
    def begin(self, x: Tensor) -> None:
        """Mean 0 and standard deviation 1 on x; a channel that hardly varies is not blown up to that."""
        values = columns(x)
        variance = values.var(1, unbiased=False)
        floor = FLOOR * variance.mean().sqrt().clamp_min(1e-6)
        self.shift.copy_(-values.mean(1))
        self.scale.copy_(-variance.sqrt().maximum(floor).log())

    def inverse(self, x: Tensor, h: Told) -> Moved:
        shift, scale = shaped(self.shift, x), shaped(self.scale, x)
        return (x + shift) * scale.exp(), self.logdet(x)

    def forward(self, v: Tensor, h: Told) -> Moved:
        shift, scale = shaped(self.shift, v), shaped(self.scale, v)
        return v * (-scale).exp() - shift, self.logdet(v)

    def logdet(self, x: Tensor) -> Tensor:
        return (self.scale.sum() * places(x)).expand(len(x))


class InvertibleLeakyReLU(nn.Module):
    """v = x where x ≥ 0, else αx: Net2Net's ``InvLeakyRelu``, whose release tells 0 as its logdet."""

    def __init__(self, alpha: float = 0.9) -> None:
        super().__init__()
        self.alpha = alpha

    def inverse(self, x: Tensor, h: Told) -> Moved:
        return F.leaky_relu(x, self.alpha), self.logdet(x)

    def forward(self, v: Tensor, h: Told) -> Moved:
        return F.leaky_relu(v, 1 / self.alpha), self.logdet(v)

    def logdet(self, x: Tensor) -> Tensor:
        return (x < 0).flatten(1).sum(1).to(x.dtype) * math.log(self.alpha)


class FixedShuffle(nn.Module):
    """Channels in another order, drawn once."""

    order: Tensor
    back: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        order = torch.randperm(channels)
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())

    def inverse(self, x: Tensor, h: Told) -> Moved:
        return Reordered.apply(x, self.order, self.back), x.new_zeros(len(x))

    def forward(self, v: Tensor, h: Told) -> Moved:
        return Reordered.apply(v, self.back, self.order), v.new_zeros(len(v))


class Reordered(torch.autograd.Function):
    """x[:, order], whose gradient is a reordering too and not the scattered sum that torch makes of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(order, back)
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        order, back = ctx.saved_tensors
        return Reordered.apply(gradient, back, order), None, None


class InvertibleLinear(nn.Module):
    """v = W x over channels, W = P L (U + diag(sign · exp(scale))), from a random rotation (Glow's 1x1)."""

    place: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
        place, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("place", place)
        self.register_buffer("sign", diagonal.sign())
        self.scale = nn.Parameter(diagonal.abs().log())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))

    def weight(self) -> Tensor:
        """W in double precision: twenty solutions in single lose a digit more than twenty couplings do."""
        parts = (self.place, self.lower, self.upper, self.sign, self.scale)
        place, lower, upper, sign, scale = (t.to(wide(t)) for t in parts)
        one = torch.eye(len(scale), dtype=scale.dtype, device=scale.device)
        return place @ (lower.tril(-1) + one) @ (upper.triu(1) + (sign * scale.exp()).diag())

    def inverse(self, x: Tensor, h: Told) -> Moved:
        with in_float32(x):
            return rows((self.weight() @ columns(x).to(wide(x))).to(x.dtype), x), self.logdet(x)

    def forward(self, v: Tensor, h: Told) -> Moved:
        with in_float32(v):
            y = torch.linalg.solve(self.weight(), columns(v).to(wide(v)))
            return rows(y.to(v.dtype), v), self.logdet(v)

    def logdet(self, x: Tensor) -> Tensor:
        return (self.scale.sum() * places(x)).expand(len(x))


class Coupling(nn.Module):
    """Both halves in turn: b moves as a and h say, then a as the new b and h say (Net2Net's double coupling).

    The networks end in zeros, so that a fresh coupling moves nothing. Published: weights as torch draws them,
    and halves that end swapped, which the shuffle behind hides. An odd channel goes to b.
    """

    def __init__(self, channels: int, cfg: Steering, *, maps: bool) -> None:
        super().__init__()
        self.sides = [channels // 2, channels - channels // 2]
        self.move = Spline(cfg.bins) if cfg.coupling == "spline" else Affine(cfg.limit)
        kind, heads = Convolutions if maps else Perceptron, cfg.heads
        self.nets = nn.ModuleList(
            kind(seen, moved * self.move.numbers // heads, cfg.width, cfg.depth, heads)
            for seen, moved in (self.sides, self.sides[::-1])
        )

    def inverse(self, x: Tensor, h: Told) -> Moved:
        a, b = x.split(self.sides, 1)
        b, first = self.move.inverse(b, self.steer(0, a, h))
        a, second = self.move.inverse(a, self.steer(1, b, h))
        return torch.cat([a, b], 1), first + second

    def forward(self, v: Tensor, h: Told) -> Moved:
        a, b = v.split(self.sides, 1)
        a, second = self.move(a, self.steer(1, b, h))
        b, first = self.move(b, self.steer(0, a, h))
        return torch.cat([a, b], 1), first + second

    def steer(self, which: int, seen: Tensor, h: Told) -> Tensor:
        """The network's numbers, as precise as x: under autocast it computes in half, what moves does not."""
        return self.nets[which](seen, None if h is None else h[which]).to(seen.dtype)


class Steering(Protocol):
    """The settings of a coupling; ``flow.FlowConfig`` has them."""

    @property
    def coupling(self) -> Kind: ...
    @property
    def width(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def bins(self) -> int: ...
    @property
    def limit(self) -> float: ...  # of the logarithm of the scale
    @property
    def heads(self) -> int: ...  # networks of a coupling: one for all its numbers, or one each for s and t


# ---- how a half moves: numbers r a channel, b -> b', log|det|


class Affine:
    """b' = b · exp(s) + t, with s = α tanh(r / α) in (−α, α); α = 1 is the paper's Tanh."""

    numbers = 2

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def inverse(self, b: Tensor, r: Tensor) -> Moved:
        return Stretched.apply(b, r, self.alpha)

    def __call__(self, b: Tensor, r: Tensor) -> Moved:
        s, t = r.chunk(2, 1)
        s = self.alpha * torch.tanh(s / self.alpha)
        return (b - t) * (-s).exp(), total(s)


class Stretched(torch.autograd.Function):
    """``Affine.inverse`` with its gradients written out: a third of the operations, once differentiable."""

    @staticmethod
    def forward(ctx: Any, b: Tensor, r: Tensor, alpha: float) -> Moved:
        s, t = r.chunk(2, 1)
        bent = torch.tanh(s / alpha)
        s = alpha * bent
        grown = b * s.exp()
        ctx.save_for_backward(bent, grown, s)
        return grown + t, total(s)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, moved: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor, None]:
        bent, grown, s = ctx.saved_tensors
        by_s = torch.addcmul(shaped_rows(logdet, s), moved, grown)
        return moved * s.exp(), torch.cat([by_s * (1 - bent.square()), moved], 1), None


class Spline:
    """Rational-quadratic splines on [−5, 5] and the identity beyond (Durkan et al. 2019), zuko's.

    In double precision: the way back solves a quadratic equation whose terms cancel, and at twenty blocks
    float32 returns to 7e-5 only, where this returns to 1e-5, as precisely as the other couplings.
    """

    def __init__(self, bins: int) -> None:
        from zuko.transforms import MonotonicRQSTransform  # type: ignore[import-untyped]

        self.bins, self.numbers, self.make = bins, 3 * bins - 1, MonotonicRQSTransform

    def inverse(self, b: Tensor, r: Tensor) -> Moved:
        moved, slopes = self.of(b, r).call_and_ladj(b.to(wide(b)))
        return moved.to(b.dtype), total(slopes).to(b.dtype)

    def __call__(self, b: Tensor, r: Tensor) -> Moved:
        spline = self.of(b, r)
        x = spline.inv(b.to(wide(b)))
        return x.to(b.dtype), total(spline.call_and_ladj(x)[1]).to(b.dtype)

    def of(self, b: Tensor, r: Tensor) -> Any:
        r = r.to(wide(r)).unflatten(1, (b.shape[1], self.numbers)).movedim(2, -1)
        return self.make(*r.split([self.bins, self.bins, self.bins - 1], -1))


# ---- the networks that say how


class Perceptron(nn.Module):
    """[N, inputs] -> [N, heads · outputs]: ``heads`` networks of ``depth`` + 2 layers side by side.

    ``told`` [N, heads · width] is what the condition adds to the first layer (``flow.Level``).
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first = nn.Linear(inputs, heads * width)
        self.middle = nn.ModuleList(dense(width, width, heads) for _ in range(depth))
        self.last = zeroed(dense(width, outputs, heads))

    def forward(self, seen: Tensor, told: Tensor | None) -> Tensor:
        h = self.first(seen)
        h = F.leaky_relu_(h if told is None else h.add_(told), SLOPE)
        if self.heads > 1:
            h = h.unflatten(1, (self.heads, -1)).transpose(0, 1)
        for layer in self.middle:
            h = F.leaky_relu_(layer(h), SLOPE)
        h = self.last(h)
        return h.transpose(0, 1).flatten(1) if self.heads > 1 else h


def dense(inputs: int, outputs: int, heads: int) -> nn.Module:
    return nn.Linear(inputs, outputs) if heads == 1 else Beside(inputs, outputs, heads)


class Beside(nn.Module):
    """[heads, N, inputs] -> [heads, N, outputs]: a dense layer for each head.

    Weights lie the other way round than nn.Linear's, so that the gradient's product is theirs without a copy.
    """

    def __init__(self, inputs: int, outputs: int, heads: int) -> None:
        super().__init__()
        bound = inputs**-0.5  # as nn.Linear's
        self.weight = nn.Parameter(torch.empty(heads, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(heads, 1, outputs).uniform_(-bound, bound))

    def forward(self, h: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, h, self.weight)


class Convolutions(nn.Module):
    """[N, inputs, H, W] -> [N, heads · outputs, H, W]: 3x3, ``depth`` times 1x1, 3x3; heads are groups.

    ``told``, which the condition adds to the first layer, is a map [N, heads · width, H, W] or one vector
    everywhere [N, heads · width, 1, 1].
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        wide = heads * width
        self.first = nn.Conv2d(inputs, wide, 3, 1, 1)
        self.middle = nn.ModuleList(nn.Conv2d(wide, wide, 1, groups=heads) for _ in range(depth))
        self.last = zeroed(nn.Conv2d(wide, heads * outputs, 3, 1, 1, groups=heads))

    def forward(self, seen: Tensor, told: Tensor | None) -> Tensor:
        h = self.first(seen)
        h = F.leaky_relu_(h if told is None else h.add_(told), SLOPE)
        for layer in self.middle:
            h = F.leaky_relu_(layer(h), SLOPE)
        return self.last(h)


def zeroed(layer: nn.Module) -> nn.Module:
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


# ---- shapes


def shaped(p: Tensor, x: Tensor) -> Tensor:
    """One number a channel, to go with x."""
    return p.view(-1, *[1] * (x.ndim - 2))


def shaped_rows(p: Tensor, x: Tensor) -> Tensor:
    """One number a row, to go with x."""
    return p.view(-1, *[1] * (x.ndim - 1))


def places(x: Tensor) -> int:
    """How many places a channel of x has: 1 in a vector, H · W in a map."""
    return math.prod(x.shape[2:])


def total(terms: Tensor) -> Tensor:
    return terms.flatten(1).sum(1)


def columns(x: Tensor) -> Tensor:
    """[N, C, ...] -> [C, all else]."""
    return x.transpose(0, 1).flatten(1)


def rows(y: Tensor, x: Tensor) -> Tensor:
    """``columns`` undone, in the shape of x."""
    return y.view(x.transpose(0, 1).shape).transpose(0, 1)


def wide(x: Tensor) -> torch.dtype:
    """Double precision, where the device has it."""
    return torch.float32 if x.device.type == "mps" else torch.float64
