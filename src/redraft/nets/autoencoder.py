"""A small image autoencoder: picture -> latent -> picture, the latent a vector or a small map.

Made to be useful after minutes on a CPU: strided convolutions down, repeated pixels and convolutions up
(``decoder.Decoder`` says why not transposed ones), residual blocks with group normalisation, which leaves a
picture independent of its batch. As an initializer it draws a latent from the Gaussian with the codes' own
mean and spread, number by number, and decodes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.types import Spec
from redraft.nets.blocks import halvings
from redraft.nets.parts import Initializer

LOGVAR = (-30.0, 20.0)  # within which log σ² is held; net2net (-30, 10)
FIRST_LOGVAR = -6.0  # log σ² before training: noise that covers the code would cost the first minutes
PACE = 10.0  # how much faster than a weight the codes' mean and spread are learnt


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """What the latent is, and how wide the network."""

    latent: Literal["vector", "spatial"] = "vector"
    numbers: int = 64  # d of a vector, channels of a map; net2net's BigAE 128 and 256, SD's map 4
    factor: int = 8  # spatial: px of the picture a place of the map, along each side; SD 8
    width: int = 32  # channels after the first halving; they double with each, up to eight times

    def __post_init__(self) -> None:
        if self.numbers < 1:
            raise UsageError(f"networks.autoencoder.numbers is at least 1, not {self.numbers}.")
        if self.width < 4:
            raise UsageError(f"networks.autoencoder.width is at least 4, not {self.width}.")
        if self.factor < 2 or self.factor & (self.factor - 1):
            raise UsageError(
                f"networks.autoencoder.factor is a power of two from 2 (4, 8), not {self.factor}."
            )

    def shape(self, size: int) -> tuple[int, int, int]:
        """Of the latent of one picture of ``size`` px: (d, 1, 1) or (C, size / f, size / f)."""
        if self.latent == "vector":
            return (self.numbers, 1, 1)
        if size % self.factor or size // self.factor < 2:
            raise UsageError(
                f"A map of {self.factor} px a place does not fit pictures of {size} px; set "
                "networks.autoencoder.factor=4, or networks.autoencoder.latent=vector."
            )
        return (self.numbers, size // self.factor, size // self.factor)


class AutoencoderNet(Initializer):
    """x [N, C, S, S] in [-1, 1] <-> z [N, *latent_shape].

    ``error_scale`` is s, the log scale of the decoder's Laplace law. ``centre`` and ``log_spread`` are the
    codes' mean and log standard deviation, per number of a vector or channel of a map: weights, learnt by
    likelihood with the others, so that they are the same in every process and after every resume.
    """

    def __init__(self, spec: Spec, cfg: AutoencoderConfig) -> None:
        super().__init__()
        self.latent_shape = self.z_shape = cfg.shape(spec.size)
        depth = halvings(spec.size, 4) if cfg.latent == "vector" else cfg.factor.bit_length() - 1
        if not depth:
            raise UsageError(
                f"An autoencoder needs pictures of 8 px or more that can be halved, not {spec.size} px."
            )
        channels = [min(cfg.width * 2**i, cfg.width * 8) for i in range(depth)]
        side = spec.size >> depth if cfg.latent == "vector" else 0
        self.encoder = _encoder(spec.channels, channels, cfg.numbers, side)
        self.decoder = _decoder(spec.channels, channels, cfg.numbers, side)
        self.error_scale = nn.Parameter(torch.zeros(1))
        self.centre = nn.Parameter(torch.zeros(cfg.numbers, 1, 1))
        self.log_spread = nn.Parameter(torch.zeros(cfg.numbers, 1, 1))

    @property
    def last(self) -> Tensor:
        """The kernel of the last layer, where losses' slopes are weighed against each other."""
        layer = self.decoder[-1]
        assert isinstance(layer, nn.Conv2d)
        return layer.weight

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x -> mean and log variance of q(z|x), both [N, *latent_shape]."""
        mean, logvar = self.encoder(x).float().chunk(2, 1)
        return mean, (logvar + FIRST_LOGVAR).clamp(*LOGVAR)

    def encode(self, x: Tensor) -> Tensor:
        """x -> the mean of q(z|x) [N, *latent_shape]."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """z [N, *latent_shape] -> x in [-1, 1]."""
        return torch.tanh(self.decoder(z).float())

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z ~ N(0, I) [N, *z_shape] -> the picture of the code that lies there among the codes."""
        mean, spread = self.codes()
        return self.decode(mean + spread * z)

    def codes(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the codes, [numbers, 1, 1] both."""
        return PACE * self.centre, (PACE * self.log_spread).exp()


class _Residual(nn.Module):
    """Two 3x3 convolutions, each after normalisation and SiLU, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(_norm(channels) for _ in range(2))
        convs = [nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(2)]
        self.convs = nn.ModuleList(convs)
        for p in convs[1].parameters():  # the identity at first
            nn.init.zeros_(p)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(F.silu(norm(h)))
        return x + h


def _norm(channels: int) -> nn.GroupNorm:
    groups = max(1, channels // 8)
    return nn.GroupNorm(groups if channels % groups == 0 else 1, channels)


def _encoder(of_picture: int, channels: list[int], numbers: int, side: int) -> nn.Sequential:
    """Picture -> mean and log variance, stacked; ``side`` of the last map where the latent is a vector."""
    layers: list[nn.Module] = []
    for a, b in zip([of_picture, *channels], channels, strict=False):
        layers += [nn.Conv2d(a, b, 4, 2, 1), _Residual(b)]
    layers += [_norm(channels[-1]), nn.SiLU()]
    if not side:
        return nn.Sequential(*layers, nn.Conv2d(channels[-1], 2 * numbers, 3, 1, 1))
    whole = nn.Linear(channels[-1] * side**2, 2 * numbers)
    return nn.Sequential(*layers, nn.Flatten(), whole, nn.Unflatten(1, (2 * numbers, 1, 1)))


def _decoder(of_picture: int, channels: list[int], numbers: int, side: int) -> nn.Sequential:
    """Latent -> picture before tanh; the map at full size has half as many channels as the one below."""
    layers: list[nn.Module]
    if side:
        first = nn.Linear(numbers, channels[-1] * side**2)
        layers = [nn.Flatten(), first, nn.Unflatten(1, (channels[-1], side, side))]
    else:
        layers = [nn.Conv2d(numbers, channels[-1], 3, 1, 1)]
    up = [*reversed(channels), max(channels[0] // 2, 8)]
    for a, b in zip(up, up[1:], strict=False):
        layers += [_Residual(a), nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, 1, 1)]
    return nn.Sequential(*layers, _norm(up[-1]), nn.SiLU(), nn.Conv2d(up[-1], of_picture, 3, 1, 1))
