"""Between what people see (pictures, words) and what networks work on, where experts stand in between.

A frozen expert reads the condition, another one the target: an autoencoder, in whose latent space drafts
are made and refined. Networks and methods know nothing of it; a bridge without experts changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.principal import principal
from redraft.core.types import Spec
from redraft.nets.experts.expert import Expert
from redraft.spaces.pixels import match_channels
from redraft.spaces.sentence import Sentence

REACH = 3.5  # standard deviations of a latent that lie within [-1, 1], where networks and chains end
MOST = 192  # channels at most of a condition that is folded to a coarser grid
FITTED = 2_000  # examples at most that principal components are found from
GRID = 16  # side at most of a spatial condition beside a vector target

Show = Callable[[Tensor, int], Tensor | None]  # a task's: conditions as RGB pictures


def represented(spec: Spec, condition: tuple[int, ...] = (), target: tuple[int, ...] = ()) -> Spec:
    """What networks must know where experts make representations of a task's spaces.

    ``condition`` and ``target`` are their shapes, (D,) or (C, s, s); () where no expert stands there. A map
    of one place, (D, 1, 1), is a vector where a condition is one; of two sides without pairs it stays a map.
    """
    channels, size = target[:2] if target else (spec.channels, spec.size)
    spec, raw = replace(spec, channels=channels, size=size), spec
    if len(condition) == 1 or (condition[1:] == (1, 1) and raw.paired):
        return replace(spec, condition="vector", width=condition[0])
    if not condition and (raw.condition != "picture" or size == raw.size):
        return spec
    width, side = condition[:2] if condition else (raw.width, raw.size)
    grid = size if size > 1 else min(side, GRID)
    return replace(spec, condition="picture", width=width * _folds(width, side, grid) ** 2, side=grid)


def fold(c: Tensor, grid: int) -> Tensor:
    """Pictures [N, C, S, S] on a coarser grid [N, C r², grid, grid]; a cell's points become channels.

    Averaged first where that would be more than ``MOST`` channels; interpolated where sides do not divide.
    """
    r = _folds(c.shape[1], c.shape[-1], grid)
    if c.shape[-1] % grid:
        return F.interpolate(c, size=(grid, grid), mode="bilinear", antialias=True)
    return F.pixel_unshuffle(F.avg_pool2d(c, c.shape[-1] // grid // r), r)


def _folds(channels: int, side: int, grid: int) -> int:
    """r: how many points a side each cell of the grid keeps."""
    cell = 1 if side % grid else side // grid
    return max(r for r in range(1, cell + 1) if r == 1 or (cell % r == 0 and channels * r * r <= MOST))


class Bridge(nn.Module):
    """Raw conditions and pictures <-> representations, for one task.

    ``spec`` is the task's, ``show`` its way to see a condition as a picture. Representations are
    standardised: those of conditions to a standard deviation of 1, of targets to 1 / ``REACH``, so that they
    lie in about [-1, 1]. With ``components`` targets are so many principal components of the latent, which
    are the training set's: [N, components, 1, 1].
    """

    mean: Tensor
    std: Tensor
    axes: Tensor
    given_mean: Tensor
    given_std: Tensor

    def __init__(
        self,
        spec: Spec,
        show: Show,
        *,
        condition: Expert | None = None,
        target: Expert | None = None,
        components: int = 0,
    ) -> None:
        super().__init__()
        self.raw, self.show, self.condition, self.target = spec, show, condition, target
        shapes = [() if e is None else e.shape(spec.size) for e in (condition, target)]
        given, self.latent = shapes
        self.components = components if self.latent else 0
        made = (self.components, 1, 1) if self.components else self.latent
        self.spec = represented(spec, given, made)
        for name, shape in (("given_", given), ("", made)):
            channels = (shape[0], *(1 for _ in shape[1:])) if shape else ()
            self.register_buffer(f"{name}mean", torch.zeros(channels))
            self.register_buffer(f"{name}std", torch.ones(channels))
        if self.components:
            self.register_buffer("mean", torch.zeros(self.latent))  # of each number, and a deviation for each
            self.register_buffer("axes", torch.zeros(self.components, math.prod(self.latent)))  # component

    @property
    def open(self) -> bool:
        """Whether it changes nothing."""
        return self.condition is None and self.target is None

    def scales(self) -> dict[str, Tensor]:
        """What was fitted, by name: all that a bundle must keep."""
        return dict(self.named_buffers(recurse=False))

    def rescale(self, scales: Mapping[str, Tensor]) -> None:
        """Take over what another bridge of the same experts has fitted."""
        for name, tensor in scales.items():
            getattr(self, name).copy_(tensor)

    def fit(self, given: Tensor | None, wanted: Tensor | None) -> None:
        """Take means and deviations from the training set's representations as the experts make them."""
        if wanted is not None and self.components:
            self._fit_components(wanted)
            wanted = None
        for prefix, codes in (("given_", given), ("", wanted)):
            if codes is not None:
                over = [i for i in range(codes.ndim) if i != 1]
                std, mean = torch.std_mean(codes.float(), over)
                shape = getattr(self, f"{prefix}mean").shape
                getattr(self, f"{prefix}mean").copy_(mean.view(shape))
                getattr(self, f"{prefix}std").copy_(std.clamp_min(1e-4).view(shape))

    def _fit_components(self, codes: Tensor) -> None:
        some = codes[:: -(-len(codes) // FITTED)]
        mean, axes, spread = principal(some.flatten(1), self.components)
        if len(axes) < self.components:
            raise UsageError(
                f"{len(some)} examples have {len(axes)} principal components, fewer than the "
                f"{self.components} to be made: set target.components={len(axes) if len(axes) > 1 else 0}"
                + (" or less." if len(axes) > 1 else " (all numbers of the latent).")
            )
        self.mean.copy_(mean.view(self.latent))
        self.axes.copy_(axes)
        self.std.copy_(spread.clamp_min(1e-4).view(self.std.shape))

    # --- conditions

    def see(self, c: Tensor) -> Tensor:
        """Raw conditions [N, ...] -> what the expert makes of them [N, D] or [N, C, s, s]."""
        assert self.condition is not None
        if self.raw.condition == "sentence":
            return self.condition(Sentence().words(c)).to(c.device)
        return self.condition(self.show(c, len(c)))

    def scaled_given(self, seen: Tensor) -> Tensor:
        """What the expert makes -> what networks are given; of sides without pairs as ``scaled`` has it."""
        if not self.raw.paired and self.target is not None:  # one turns into the other: no other contrast
            return self.scaled(seen)
        c = (seen - self.given_mean) / self.given_std
        if self.spec.condition == "vector":
            return c.flatten(1)
        return fold(c, self.spec.side or self.spec.size) if c.ndim == 4 else c

    def given(self, c: Tensor | None) -> Tensor | None:
        """Raw conditions -> what networks are given."""
        if c is None or self.open:
            return c
        if self.condition is not None:
            return self.scaled_given(self.see(c))
        return fold(c, self.spec.side or self.spec.size) if self.raw.condition == "picture" else c

    # --- targets

    def look(self, x: Tensor) -> Tensor:
        """Pictures [N, C, S, S] in [-1, 1] -> latents as the expert makes them [N, *shape]."""
        assert self.target is not None
        return self.target(match_channels(x, 3))

    def scaled(self, latent: Tensor) -> Tensor:
        """Latents as the expert makes them -> what networks are to make."""
        u = latent - self.mean
        if self.components:
            u = (u.flatten(1) @ self.axes.T)[..., None, None]
        return u / (REACH * self.std)

    def wanted(self, x: Tensor) -> Tensor:
        """Pictures -> what networks are to make [N, C, s, s]."""
        return x if self.target is None else self.scaled(self.look(x))

    def view(self, z: Tensor) -> Tensor:
        """What networks have made -> pictures [N, C, S, S] in [-1, 1]."""
        if self.target is None:
            return z
        u = z * (REACH * self.std)
        if self.components:
            u = (u.flatten(1) @ self.axes).unflatten(1, self.latent)
        latent = u + self.mean
        return match_channels(self.target.decode(latent), self.raw.channels)
