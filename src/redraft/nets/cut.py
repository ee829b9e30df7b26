"""CUT's networks: the ResNet translator of CycleGAN and CUT, and the heads that compare its patches.

Zhu, Park, Isola, Efros. "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
ICCV 2017, arXiv:1703.10593; Park, Efros, Zhang, Zhu. "Contrastive Learning for Unpaired Image-to-Image
Translation", ECCV 2020, arXiv:2007.15651. Layers, their numbers, filters and first weights are those of the
authors' code, so that its weights fit (nets/foreign.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.types import Spec
from redraft.nets.parts import Initializer

LAYERS = (0, 4, 8, 12, 16)  # whose outputs are compared, as the authors count layers
Norm = Callable[[int], nn.Module]  # channels -> normalisation


def instance(channels: int) -> nn.Module:
    """Instance normalisation, as groups of one channel: the same numbers, two to three times as fast here."""
    return nn.GroupNorm(channels, channels, affine=False)


class Translator(Initializer):
    """c [N, Cc, S, S] -> x [N, C, S, S], S a multiple of 4 and at least 16; z is empty, [N, 0].

    7 x 7, two layers down, ``blocks`` residual blocks at S/4, two layers up, 7 x 7, tanh. With ``antialias``
    (CUT) sides are halved and doubled by binomial filters, without it (CycleGAN) by strided and transposed
    convolutions. ``heads`` is the width of the heads, 0 for none: they take what the translator makes of a
    picture of either side, so both sides then need the same channels. The rest is for weights of others:
    ``antialias_up`` where the way up differs from the way down, ``bias``, ``norm``, and ``dropout``, which
    is at rest here but was a layer with a number.
    """

    z_shape = (0,)

    def __init__(
        self,
        spec: Spec,
        width: int = 64,
        blocks: int = 9,
        *,
        antialias: bool = True,
        antialias_up: bool | None = None,
        heads: int = 256,
        norm: Norm = instance,
        bias: bool = True,
        dropout: bool = False,
    ) -> None:
        super().__init__()
        if heads and spec.width != spec.channels:
            raise UsageError(
                "CUT looks at a picture and at its translation with one network, so both need the same "
                f"number of channels, not {spec.width} and {spec.channels}."
            )
        w, top, smooth_up = width, 4 * width, antialias if antialias_up is None else antialias_up
        stem = [nn.ReflectionPad2d(3), nn.Conv2d(spec.width, w, 7, bias=bias), norm(w), nn.ReLU()]
        self.model = nn.Sequential(
            *stem,
            *_down(w, antialias, norm, bias),
            *_down(2 * w, antialias, norm, bias),
            *(Block(top, norm, bias, dropout) for _ in range(blocks)),
            *_up(top, smooth_up, norm, bias),
            *_up(2 * w, smooth_up, norm, bias),
            nn.ReflectionPad2d(3),
            nn.Conv2d(w, spec.channels, 7),
            nn.Tanh(),
        )
        last = max(i for i, layer in enumerate(self.model) if isinstance(layer, Block)) if blocks else 8
        self.layers = tuple(i for i in LAYERS if i <= last)
        s, half = spec.size, spec.size // 2
        sides = (s + 6, s, half, s // 4, s // 4) if antialias else (s + 6, half, s // 4, s // 4, s // 4)
        self.sides = sides[: len(self.layers)]  # of the features, px
        seen = (spec.width, 2 * w, top, top, top)[: len(self.layers)]
        self.heads = Heads(seen, heads) if heads else None
        self.apply(_first_weights)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return self.model(c).float()

    def encode(
        self, x: Tensor, places: Sequence[Tensor] | None = None, *, whole: bool = False
    ) -> tuple[Tensor, ...]:
        """What five layers make of x [N, Cc, S, S]: [N, C_l, H_l, W_l] each, H_l = W_l = ``sides[l]``.

        With ``places``, an index tensor [N, P] below ``sides[l]²`` for each layer, what the heads make of
        these patches: [N, P, D] each, of length 1. With ``whole`` the translation of x comes last: one pass
        in place of two where both are wanted.
        """
        features: list[Tensor] = []
        h = x
        for i, layer in enumerate(self.model):
            h = layer(h)
            if i in self.layers:
                features.append(h)
            if i == self.layers[-1] and not whole:
                break
        if places is not None:
            assert self.heads is not None, "this translator was built without heads"
            features = self.heads(features, places)
        return (*features, h.float()) if whole else tuple(features)


class Heads(nn.Module):
    """For each layer a two-layer perceptron on the features at given places, scaled to length 1.

    ``channels`` of each layer's features; the authors' netF, whose ``width`` is 256.
    """

    def __init__(self, channels: Sequence[int], width: int = 256) -> None:
        super().__init__()
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(c, width), nn.ReLU(), nn.Linear(width, width)) for c in channels
        )
        self.apply(_first_weights)

    def forward(self, features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """[N, C_l, H_l, W_l] and row-major places [N, P] each -> [N, P, width] each."""
        made = []
        for mlp, feature, place in zip(self.mlps, features, places, strict=True):
            flat = feature.flatten(2)
            patches = flat.gather(2, place[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)
            made.append(F.normalize(mlp(patches).float(), dim=2, eps=1e-7))
        return made


class Block(nn.Module):
    """h + norm(conv(relu(norm(conv(h))))), 3 x 3, edges reflected."""

    def __init__(self, channels: int, norm: Norm, bias: bool, dropout: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm(channels),
            nn.ReLU(),
            *([nn.Identity()] if dropout else []),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm(channels),
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.conv_block(h)


class Halve(nn.Module):
    """[1 2 1] blur, then every second pixel; edges reflected (Zhang 2019, arXiv:1904.11486)."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("kernel", _binomial([1, 2, 1], channels), persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        return F.conv2d(F.pad(h, (1, 1, 1, 1), "reflect"), self.kernel, stride=2, groups=h.shape[1])


class Double(nn.Module):
    """Bilinear to twice the side, edges repeated.

    As a transposed convolution with [1 3 3 1], whose gradient takes half the time of ``interpolate``'s.
    """

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("kernel", 4 * _binomial([1, 3, 3, 1], channels), persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        h = F.pad(h, (1, 1, 1, 1), "replicate")
        return F.conv_transpose2d(h, self.kernel, stride=2, padding=3, groups=h.shape[1])


def _down(channels: int, antialias: bool, norm: Norm, bias: bool) -> list[nn.Module]:
    """To twice the channels at half the side."""
    out, stride = 2 * channels, 1 if antialias else 2
    layers = [nn.Conv2d(channels, out, 3, stride, 1, bias=bias), norm(out), nn.ReLU()]
    return [*layers, Halve(out)] if antialias else layers


def _up(channels: int, antialias: bool, norm: Norm, bias: bool) -> list[nn.Module]:
    """To half the channels at twice the side."""
    out = channels // 2
    if antialias:
        return [Double(channels), nn.Conv2d(channels, out, 3, 1, 1, bias=bias), norm(out), nn.ReLU()]
    return [nn.ConvTranspose2d(channels, out, 3, 2, 1, 1, bias=bias), norm(out), nn.ReLU()]


def _binomial(row: list[int], channels: int) -> Tensor:
    """The separable filter, of sum 1, once for each channel."""
    r = torch.tensor(row, dtype=torch.float32) / sum(row)
    return (r[:, None] * r).repeat(channels, 1, 1, 1)


def _first_weights(layer: nn.Module) -> None:
    """Xavier with gain 0.02, biases 0: the defaults of the authors' code."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.xavier_normal_(layer.weight, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
