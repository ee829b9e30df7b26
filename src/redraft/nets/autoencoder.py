"""A small image autoencoder: picture -> latent -> picture, the latent a vector or a small map.

Made to be useful after minutes on a CPU. Principal components of the pictures, found in closed form, are the
first guess of both halves, and convolutions learn what they miss: strided ones down; repeated pixels and
convolutions up (``decoder.Decoder`` says why not transposed ones), residual blocks with group normalisation,
which leaves a picture independent of its batch. As an initializer it draws a latent from the Gaussian with
the codes' own mean and spread, number by number, and decodes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.principal import principal
from redraft.core.types import Spec
from redraft.nets.blocks import halvings, in_float32
from redraft.nets.parts import Initializer

LOGVAR = (-30.0, 20.0)  # within which log σ² is held; net2net (-30, 10)
FIRST_LOGVAR = -6.0  # log σ² before training: noise that covers the code would cost the first minutes
MOST = 32  # px at most of the pictures whose principal components are taken
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
    """x [N, C, S, S] in [-1, 1] <-> z [N, *latent_shape(S)], which is ``z_shape`` for the spec's own size.

    Both halves are a sum: principal components of real pictures, found in closed form by ``begin``, and
    convolutions that learn what these miss and so need not find light and colour first.

    ``error_scale`` is s, the log scale of the decoder's Laplace law. ``centre`` and ``log_spread`` are the
    codes' mean and log standard deviation, per number of a vector or channel of a map: weights, learnt by
    likelihood with the others, so that they are the same in every process and after every resume.
    """

    def __init__(self, spec: Spec, cfg: AutoencoderConfig) -> None:
        super().__init__()
        self.size, self.cfg, self.z_shape = spec.size, cfg, cfg.shape(spec.size)
        vector = cfg.latent == "vector"
        depth = halvings(spec.size, 4) if vector else cfg.factor.bit_length() - 1
        if not depth:
            raise UsageError(
                f"An autoencoder needs pictures of 8 px or more that can be halved, not {spec.size} px."
            )
        channels = [min(cfg.width * 2**i, cfg.width * 8) for i in range(depth)]
        side = spec.size >> depth if vector else 0
        self.principal = Principal(spec.channels, spec.size if vector else cfg.factor, cfg.numbers)
        self.encoder = _encoder(spec.channels, channels, cfg.numbers, side)
        self.decoder = _decoder(spec.channels, channels, cfg.numbers, side)
        self.error_scale = nn.Parameter(torch.zeros(1))
        self.centre = nn.Parameter(torch.zeros(cfg.numbers, 1, 1))
        self.log_spread = nn.Parameter(torch.zeros(cfg.numbers, 1, 1))

    def begin(self, x: Tensor) -> None:
        """Find the principal components of real pictures x [N, C, S, S]: once, before training."""
        self.principal.fit(x)

    def latent_shape(self, size: int) -> tuple[int, int, int]:
        """Of the latent of a picture of ``size`` px; a map's follows the picture, a vector is of one size."""
        if self.cfg.latent == "vector" and size != self.size:
            raise UsageError(
                f"This autoencoder's vectors are of pictures of {self.size} px, not {size}; "
                f"use --size {self.size}."
            )
        return self.cfg.shape(size)

    @property
    def last(self) -> Tensor:
        """The kernel of the last layer, where losses' slopes are weighed against each other."""
        layer = self.decoder[-1]
        assert isinstance(layer, nn.Conv2d)
        return layer.weight

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x -> mean and log variance of q(z|x), both [N, *z_shape]."""
        learnt, logvar = self.encoder(x).float().chunk(2, 1)
        with in_float32(x):
            start = self.principal.encode(x)
        return start + learnt, (logvar + FIRST_LOGVAR).clamp(*LOGVAR)

    def encode(self, x: Tensor) -> Tensor:
        """x -> the mean of q(z|x) [N, *z_shape]."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """z [N, *z_shape] -> x in [-1, 1]; slopes are those of before it was cut to that range."""
        with in_float32(z):
            start = self.principal.decode(z)
        x = start + self.decoder(z).float()
        return x + (x.clamp(-1, 1) - x).detach()

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z ~ N(0, I) [N, *z_shape] -> the picture of the code that lies there among the codes."""
        mean, spread = self.codes()
        return self.decode(mean + spread * z)

    def codes(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the codes, [numbers, 1, 1] both."""
        return PACE * self.centre, (PACE * self.log_spread).exp()


class Principal(nn.Module):
    """Principal components as an autoencoder: of whole pictures reduced to 32 px or less, or of patches.

    ``side`` px of the picture are one place of the latent. Numbers are scaled to a standard deviation of 1.
    All are 0 before ``fit``.
    """

    basis: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, channels: int, side: int, numbers: int) -> None:
        super().__init__()
        self.reduced = 1
        while side // self.reduced > MOST and side // self.reduced % 2 == 0:
            self.reduced *= 2
        side //= self.reduced
        self.register_buffer("basis", torch.zeros(numbers, channels, side, side))
        self.register_buffer("mean", torch.zeros(channels, side, side))
        self.register_buffer("spread", torch.ones(numbers))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Of x [N, C, S, S]; a function of x alone, its signs too."""
        numbers, side = len(self.basis), self.basis.shape[-1]
        places = F.unfold(self._reduce(x), side, stride=side).transpose(1, 2).flatten(0, 1)
        mean, basis, spread = principal(places, numbers)
        self.basis.zero_()[: len(basis)] = basis.view(-1, *self.mean.shape).to(self.basis)
        self.mean.copy_(mean.view_as(self.mean))
        self.spread.fill_(1)[: len(spread)] = spread.to(self.spread)

    def encode(self, x: Tensor) -> Tensor:
        """x [N, C, S, S] -> [N, numbers, S / side, S / side]."""
        kernel = self.basis / self.spread.view(-1, 1, 1, 1)
        offset = (kernel * self.mean).sum((1, 2, 3))
        return F.conv2d(self._reduce(x), kernel, -offset, stride=self.basis.shape[-1])

    def decode(self, z: Tensor) -> Tensor:
        """The picture of these numbers, the mean picture of 0."""
        kernel, side = self.basis * self.spread.view(-1, 1, 1, 1), self.basis.shape[-1]
        x = F.conv_transpose2d(z, kernel, stride=side)
        x = x + self.mean.repeat(1, z.shape[-2], z.shape[-1])
        return x if self.reduced == 1 else F.interpolate(x, scale_factor=self.reduced, mode="bilinear")

    def _reduce(self, x: Tensor) -> Tensor:
        return x if self.reduced == 1 else F.avg_pool2d(x, self.reduced)


class _Residual(nn.Module):
    """Two 3x3 convolutions, each after normalisation and SiLU, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(_norm(channels) for _ in range(2))
        convs = [nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(2)]
        self.convs = nn.ModuleList(convs)
        _silent(convs[1])

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(F.silu(norm(h)))
        return x + h


def _silent(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """A layer that adds nothing at first."""
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


def _norm(channels: int) -> nn.GroupNorm:
    groups = max(1, channels // 8)
    return nn.GroupNorm(groups if channels % groups == 0 else 1, channels)


def _encoder(of_picture: int, channels: list[int], numbers: int, side: int) -> nn.Sequential:
    """Picture -> mean and log variance, stacked; ``side`` of the last map where the latent is a vector."""
    layers: list[nn.Module] = [_ChannelsLast()]
    for a, b in zip([of_picture, *channels], channels, strict=False):
        layers += [nn.Conv2d(a, b, 4, 2, 1), _Residual(b)]
    layers += [_norm(channels[-1]), nn.SiLU()]
    if not side:
        return nn.Sequential(*layers, _silent(nn.Conv2d(channels[-1], 2 * numbers, 3, 1, 1)))
    whole = _silent(nn.Linear(channels[-1] * side**2, 2 * numbers))
    return nn.Sequential(*layers, nn.Flatten(), whole, nn.Unflatten(1, (2 * numbers, 1, 1)))


def _decoder(of_picture: int, channels: list[int], numbers: int, side: int) -> nn.Sequential:
    """Latent -> what is added to the picture; at full size there are but few channels."""
    layers: list[nn.Module]
    if side:
        first = nn.Linear(numbers, channels[-1] * side**2)
        layers = [nn.Flatten(), first, nn.Unflatten(1, (channels[-1], side, side))]
    else:
        layers = [nn.Conv2d(numbers, channels[-1], 3, 1, 1)]
    layers.append(_ChannelsLast())
    for a, b in zip(channels[::-1], channels[-2::-1], strict=False):
        layers += [_Residual(a), nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, 1, 1)]
    fine = max(channels[0] // 4, 4)
    layers += [
        _Residual(channels[0]),
        _norm(channels[0]),
        nn.SiLU(),
        _alike(nn.Conv2d(channels[0], 4 * fine, 3, 1, 1)),
    ]
    return nn.Sequential(
        *layers, nn.PixelShuffle(2), nn.SiLU(), _silent(nn.Conv2d(fine, of_picture, 3, 1, 1))
    )


def _alike(layer: nn.Conv2d) -> nn.Conv2d:
    """Before ``PixelShuffle(2)``: the four pixels of a place begin alike, so that no grid is left."""
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(p[::4].repeat_interleave(4, 0))
    return layer


class _ChannelsLast(nn.Module):
    """Maps laid out as a CPU's convolutions like them when there are few channels: twice as fast."""

    def forward(self, h: Tensor) -> Tensor:
        return h.contiguous(memory_format=torch.channels_last)
