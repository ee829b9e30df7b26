"""Randomness as a pure function of (seed, purpose, step, picture): nothing to save, nothing to restore."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


def stream(seed: int, *where: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on nothing but ``seed`` and ``where``."""
    digest = hashlib.blake2b(repr((seed, *where)).encode(), digest_size=7).digest()
    return torch.Generator(device=device).manual_seed(int.from_bytes(digest, "big"))


class Noise(Protocol):
    """Where methods draw from: standard normals for each picture of a batch."""

    def normal(self, n: int, *shape: int) -> Tensor:
        """Independent N(0, 1) draws, [n, *shape]."""
        ...


def uniform(n: int, rng: Noise) -> Tensor:
    """Independent draws from 0 to 1, one for each picture of a batch, [n]."""
    return torch.special.ndtr(rng.normal(n, 1)[:, 0])


class BatchNoise:
    """Draws for one process's share of a batch, so that several processes draw what one would.

    The draws of the whole batch (``world`` shares of n pictures) are made everywhere, and picture
    i of the batch belongs to process ``i % world``.
    """

    def __init__(self, generator: torch.Generator, rank: int = 0, world: int = 1) -> None:
        self.generator, self.rank, self.world = generator, rank, world

    def normal(self, n: int, *shape: int) -> Tensor:
        whole = torch.randn(n * self.world, *shape, generator=self.generator, device=self.generator.device)
        return whole[self.rank :: self.world]


class PictureNoise:
    """One stream a picture, drawn on the CPU: neither batch size nor device changes a picture's noise."""

    def __init__(self, seed: int, pictures: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.generators = [stream(seed, "picture", i) for i in pictures]
        self.device = device

    def normal(self, n: int, *shape: int) -> Tensor:
        if n != len(self.generators):
            raise ValueError(f"noise for {len(self.generators)} pictures was asked for {n}")
        draws = [torch.randn(*shape, generator=g) for g in self.generators]
        return torch.stack(draws).to(self.device)
