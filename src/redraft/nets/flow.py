"""The conditional invertible network of Net2Net (Rombach et al. 2020, arXiv:2005.13580), of vectors and maps.

    x = τ(v | c)      v = τ⁻¹(x | c)      log p(x | c) = log N(v; 0, I) + log|det ∂v/∂x|

x is a representation, v ~ N(0, I) the residual: what x says and c does not. A block is, on the way from x to
v, ActNorm, double coupling, shuffle (couplings.py); h = H(c) steers the couplings (conditioning.py).

Maps go through convolutions on grids, each half as fine as the one before: four neighbours become channels
(as in Glow, but none is taken out on the way), so that a coarse grid's couplings see far. Published: vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import DataError, UsageError
from redraft.core.types import Spec
from redraft.nets.conditioning import Embedder, Norm
from redraft.nets.couplings import (
    ActNorm,
    Coupling,
    FixedShuffle,
    InvertibleLeakyReLU,
    InvertibleLinear,
    Kind,
    Moved,
    Told,
)
from redraft.nets.parts import Initializer
from redraft.nets.regression import Regression

Layers = Iterable[Any]  # from x to v
See = Callable[[nn.Module, Tensor], None]  # a layer, and what comes to it from x
FINEST = 16  # px of side on which a flow of maps begins at most: finer ones are folded first


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """How deep and wide a flow is, and what its blocks are made of."""

    blocks: int = 12  # paper 20 to 24
    width: int = 256  # hidden units of the networks that steer a coupling; paper 1024
    depth: int = 1  # their hidden-to-hidden layers; the paper's hidden_depth, 2
    embed: int = 64  # numbers of h = H(c); paper 10 (one-hot), 128 to 268
    coupling: Kind = (
        "affine"  # tanh: the paper's, s in (-1, 1), s and t by networks of their own; spline: zuko's
    )
    clamp: float = 2.0  # α of affine's s = α tanh(s/α); FrEIA 2
    bins: int = 8  # of a spline; NSF 8
    shuffle: Literal["fixed", "invertible"] = (
        "fixed"  # a permutation as in the paper; or Glow's learned linear
    )
    activation: Literal["none", "inv_leaky_relu"] = "none"  # the paper's code has both and uses none
    order: Literal["norm", "coupling"] = (
        "norm"  # which comes first: the paper's code norm, its Fig. 15 coupling
    )
    norm: Norm = "layer"  # in H of a vector or category; the paper's code: batch
    regression: bool = True  # begin at what the condition says by a straight line; the paper's do not
    levels: int = 2  # grids of a map, each half as fine; 1 where the side cannot be halved

    def __post_init__(self) -> None:
        if self.blocks < 1 or self.width < 1 or self.depth < 0 or self.embed < 1 or self.levels < 1:
            raise UsageError(
                "A flow needs blocks, width, embed and levels of at least 1 and a depth of at least 0."
            )
        if self.clamp <= 0 or self.bins < 2:
            raise UsageError("networks.flow.clamp is greater than 0, and networks.flow.bins at least 2.")

    @property
    def limit(self) -> float:
        """Of the logarithm of a coupling's scale."""
        return 1.0 if self.coupling == "tanh" else self.clamp

    @property
    def heads(self) -> int:
        """Networks that steer one half: one for all its numbers, or one each for s and t."""
        return 2 if self.coupling == "tanh" else 1


class Flow(Initializer):
    """τ: v [N, C, s, s] and c -> x [N, C, s, s]; of side 1 a flow of vectors, else of maps.

    c: None, int64 [N] (category), [N, D] (vector) or [N, Cc, s, s] (picture; for a map of its side).
    UsageError for a target that cannot be split into two halves.
    """

    begun: Tensor

    def __init__(self, spec: Spec, cfg: FlowConfig) -> None:
        super().__init__()
        self.z_shape = (spec.channels, spec.size, spec.size)
        self.grids = grids(spec, min(cfg.levels, cfg.blocks))
        self.embed = Embedder(spec, cfg.embed, cfg.norm, self.grids)
        self.levels = nn.ModuleList(
            Level(spec, grid, cfg, len(range(i, cfg.blocks, len(self.grids))))
            for i, grid in enumerate(self.grids)
        )
        self.regression = Regression(spec) if cfg.regression and Regression.suits(spec) else None
        self.register_buffer("begun", torch.tensor(False))

    def forward(self, z: Tensor, c: Any) -> Tensor:
        """x = τ(z | c) [N, C, s, s]."""
        return self.draft(z, c)[0]

    def draft(self, z: Tensor, c: Any) -> Moved:
        """x = τ(z | c) and log|det ∂v/∂x| there [N]."""
        y = self._enter(z, self.grids[-1])
        logdet = y.new_zeros(len(y))
        for grid, level, h in reversed(list(zip(self.grids, self.levels, self.embed(c), strict=True))):
            y, more = level(folded(y, grid), h)
            logdet = logdet + more
        x = self._leave(y)
        return (x if self.regression is None else x + self.regression(c)), logdet

    def inverse(self, x: Tensor, c: Any) -> Moved:
        """v = τ⁻¹(x | c) [N, C, s, s] and log|det ∂v/∂x| [N]."""
        return self._inverse(x, c, lambda layer, y: None)

    @torch.no_grad()
    def begin(self, x: Tensor, c: Any) -> None:
        """Set every ActNorm from real examples, a few hundred: then each channel has mean 0 and deviation 1.

        The same in every process that is given the same examples. Called once, before training; a flow that
        has begun, as one that is resumed, stays as it is. DataError where the examples do not differ at all.
        """
        if self.begun:
            return
        if not torch.isfinite(x).all():
            raise DataError("The examples for the flow's start hold values that are not finite numbers.")
        if (x - x.mean(0)).abs().max() <= 1e-6 * x.abs().max() and (x.shape[2:] == (1, 1) or len(x) > 1):
            raise DataError(
                f"The flow's start needs representations that differ, and the {len(x)} that it was given are "
                "all alike: give more pictures, or look for duplicates with: redraft data check."
            )
        if self.regression is not None:
            x = widened(x, self.regression, c)
        mode = self.training
        self.eval()  # batch norm in H would otherwise count these examples
        self._inverse(x, c, lambda layer, y: layer.begin(y) if isinstance(layer, ActNorm) else None)
        self.train(mode)
        self.begun.fill_(True)

    def _inverse(self, x: Tensor, c: Any, see: See) -> Moved:
        y = self._enter(x if self.regression is None else x - self.regression(c), self.grids[0])
        logdet = y.new_zeros(len(y))
        for grid, level, h in zip(self.grids, self.levels, self.embed(c), strict=True):
            y, more = cast(Level, level).inverse(folded(y, grid), h, see)
            logdet = logdet + more
        return self._leave(y), logdet

    def _enter(self, x: Tensor, grid: int) -> Tensor:
        """[N, C, s, s] -> [N, d], or maps on the grid; at least float32."""
        x = x if x.dtype == torch.float64 else x.float()
        return x.flatten(1) if self.grids == (1,) else folded(x, grid)

    def _leave(self, y: Tensor) -> Tensor:
        """[N, d], or maps on any grid -> [N, C, s, s]."""
        return folded(y, self.z_shape[-1]).reshape(-1, *self.z_shape)


def widened(x: Tensor, line: Regression, c: Any) -> Tensor:
    """x with as much beside the line, which is fitted to it here, as new examples have.

    Those that it is found from lie nearer to it: on it, where they are fewer than a condition has numbers.
    """
    told = line.fit(c, x)
    drawn = line(c)
    beside = (1 - told) * (x - x.mean((0, 2, 3), keepdim=True)).square().mean()
    return torch.lerp(drawn, x, (beside / (x - drawn).square().mean().clamp_min(1e-12)).sqrt().clamp_min(1.0))


class Level(nn.Module):
    """The blocks of one grid.

    What each coupling's first layer takes of h is computed for all of them in one product. On maps that is
    1x1, or one vector for all places; a 3x3 convolution of [x, h] would do it nine times at every place.
    """

    def __init__(self, spec: Spec, grid: int, cfg: FlowConfig, blocks: int) -> None:
        super().__init__()
        channels, maps = spec.channels * (spec.size // grid) ** 2, spec.size > 1
        self.blocks = nn.ModuleList(nn.ModuleList(block(channels, cfg, maps=maps)) for _ in range(blocks))
        told = blocks * 2 * cfg.heads * cfg.width
        self.read: nn.Module | None = None
        if spec.condition == "picture" and maps:
            self.read = nn.Conv2d(cfg.embed, told, 1, bias=False)
        elif spec.condition != "none":
            self.read = nn.Linear(cfg.embed, told, bias=False)
        self.maps = maps

    def forward(self, v: Tensor, h: Tensor | None) -> Moved:
        y, logdets = v, []
        for layers, told in reversed(list(zip(self.blocks, self.told(h), strict=True))):
            for layer in reversed(list(cast(Layers, layers))):
                y, logdet = layer(y, told)
                logdets.append(logdet)
        return y, torch.stack(logdets).sum(0)

    def inverse(self, x: Tensor, h: Tensor | None, see: See) -> Moved:
        y, logdets = x, []
        for layers, told in zip(self.blocks, self.told(h), strict=True):
            for layer in cast(Layers, layers):
                see(layer, y)
                y, logdet = layer.inverse(y, told)
                logdets.append(logdet)
        return y, torch.stack(logdets).sum(0)

    def told(self, h: Tensor | None) -> list[Told]:
        """For each block what h adds to the first layers of its coupling's two networks."""
        if self.read is None:
            return [None] * len(self.blocks)
        told = self.read(h)
        if self.maps and told.ndim == 2:
            told = told[:, :, None, None]
        each = iter(told.chunk(2 * len(self.blocks), 1))
        return list(zip(each, each, strict=True))


def block(channels: int, cfg: FlowConfig, *, maps: bool) -> list[nn.Module]:
    """The layers of a block on the way from x to v."""
    coupling = Coupling(channels, cfg, maps=maps)
    norm: list[nn.Module] = [ActNorm(channels)]
    if cfg.activation == "inv_leaky_relu":
        norm.append(InvertibleLeakyReLU())
    shuffle = InvertibleLinear(channels) if cfg.shuffle == "invertible" else FixedShuffle(channels)
    return [*norm, coupling, shuffle] if cfg.order == "norm" else [coupling, *norm, shuffle]


def grids(spec: Spec, levels: int) -> tuple[int, ...]:
    """The sides on which a flow for ``spec`` works, from fine to coarse; (1,) for vectors."""
    side, channels = spec.size, spec.channels
    while side % 2 == 0 and (side > FINEST or channels < 2):
        side, channels = side // 2, 4 * channels
    if channels < 2:
        raise UsageError(
            f"A flow moves one half of a representation by the other: one of {spec.channels} x {spec.size} x "
            f"{spec.size} numbers has no two halves; take one with more channels or an even side."
        )
    sides = [side]
    while len(sides) < levels and sides[-1] % 2 == 0 and sides[-1] > 2:
        sides.append(sides[-1] // 2)
    return tuple(sides)


def folded(y: Tensor, side: int) -> Tensor:
    """Maps on the grid of this side: neighbours become channels, or channels neighbours. A vector stays."""
    if y.ndim == 2 or y.shape[-1] == side:
        return y
    if y.shape[-1] > side:
        return F.pixel_unshuffle(y, y.shape[-1] // side)
    return F.pixel_shuffle(y, side // y.shape[-1])
