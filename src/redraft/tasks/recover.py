"""Occluded or missing parts: the known pixels are kept exactly, the rest is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.data import Folder, Raw, read_picture
from redraft.spaces.pixels import Pixels

Holes = Literal["centre", "boxes", "strokes", "pixels", "mixed"]


@dataclass(frozen=True, kw_only=True)
class Recover:
    """The condition is the picture with its holes at 0, and a channel that is 1 where it is known."""

    size: int
    channels: int
    holes: Holes = "centre"

    @property
    def spec(self) -> Spec:
        width = self.channels + 1
        return Spec(size=self.size, channels=self.channels, condition="picture", width=width)

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        return None

    @classmethod
    def of(cls, folder: Folder, size: int) -> Recover:
        return cls(size=size, channels=folder.channels)

    def pair(self, raw: Raw, rng: Noise) -> Pair:
        x = Pixels(size=self.size, channels=self.channels).encode(raw.target)
        return Pair(masked(x, known(self.holes, len(x), self.size, rng).to(x.device)), x)

    def keep(self, x: Tensor, c: Tensor) -> Tensor:
        picture, mask = c[:, :-1], c[:, -1:]
        return torch.where(mask > 0.5, picture, x)

    def show(self, c: Tensor, n: int) -> Tensor:
        picture = Pixels(size=self.size, channels=self.channels).show(c[:, :-1])
        hole = picture.new_tensor([0.9, -0.6, 0.5])[:, None, None]  # a colour that few photos have
        return torch.where(c[:, -1:] > 0.5, picture, hole)

    def read(self, argument: str, rng: Noise) -> Tensor:
        """A picture; its transparent pixels are the hole. Without any, the hole is cut by the task."""
        raw, opaque = read_picture(argument, size=self.size)
        x = Pixels(size=self.size, channels=self.channels).encode(raw)
        if bool(opaque.all()):
            return masked(x, known(self.holes, 1, self.size, rng))
        return masked(x, opaque.float())


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """x [N, C, S, S] and mask [N, 1, S, S] (1 = known) -> the condition [N, C + 1, S, S]."""
    return torch.cat([x * mask, mask], 1)


def known(holes: Holes, n: int, size: int, rng: Noise) -> Tensor:
    """Masks [n, 1, size, size]: 1 = known, 0 = missing. Independent for each picture."""
    if holes == "centre":
        return _centre(n, size)
    u = torch.special.ndtr(rng.normal(n, 64)).cpu()
    if holes == "boxes":
        return _boxes(u, size)
    if holes == "strokes":
        return _strokes(u, size)
    pixels = (rng.normal(n, 1, size, size).cpu() > 0.674).float()  # a quarter is known
    if holes == "pixels":
        return pixels
    kinds = torch.stack([_centre(n, size), _boxes(u, size), _strokes(u, size), pixels])
    return kinds[(u[:, 63] * 4).long().clamp_(max=3), torch.arange(n)]


def _centre(n: int, size: int) -> Tensor:
    mask = torch.ones(n, 1, size, size)
    mask[..., size // 4 : size - size // 4, size // 4 : size - size // 4] = 0
    return mask


def _boxes(u: Tensor, size: int) -> Tensor:
    """Three boxes, each side between 1/6 and 1/2 of the picture's."""
    at = torch.arange(size)
    mask = torch.ones(len(u), size, size, dtype=torch.bool)
    for box in u[:, :12].view(-1, 3, 4).unbind(1):
        h, w = ((box[:, 2:] / 3 + 1 / 6) * size).T
        top, left = box[:, 0] * (size - h), box[:, 1] * (size - w)
        rows = (at >= top[:, None]) & (at < (top + h)[:, None])
        cols = (at >= left[:, None]) & (at < (left + w)[:, None])
        mask &= ~(rows[:, :, None] & cols[:, None])
    return mask.float()[:, None]


def _strokes(u: Tensor, size: int) -> Tensor:
    """Three free-form brush strokes of four straight pieces each, 1/20 to 1/8 of the side thick."""
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    missing = torch.zeros(len(u), size, size, dtype=torch.bool)
    for stroke in range(3):
        v = u[:, 16 * stroke : 16 * stroke + 11] * size
        radius = (v[:, 10] * (1 / 8 - 1 / 20) + size / 20) / 2
        points = v[:, :10].view(-1, 5, 2)
        for a, b in zip(points.unbind(1)[:-1], points.unbind(1)[1:], strict=True):
            missing |= _near_segment(y, x, a, b, radius)
    return (~missing).float()[:, None]


def _near_segment(y: Tensor, x: Tensor, a: Tensor, b: Tensor, radius: Tensor) -> Tensor:
    ay, ax, by, bx = (p[:, None, None] for p in (a[:, 0], a[:, 1], b[:, 0], b[:, 1]))
    dy, dx = by - ay, bx - ax
    along = ((y - ay) * dy + (x - ax) * dx) / (dy.square() + dx.square()).clamp_min(1e-6)
    along = along.clamp(0, 1)
    gap = (y - ay - along * dy).square() + (x - ax - along * dx).square()
    return gap <= radius[:, None, None].square()
