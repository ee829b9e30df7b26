"""PITI's condition encoder E(y): a picture becomes the words that a pretrained denoiser reads.

Wang et al., "Pretraining is All You Need for Image-to-Image Translation", arXiv:2205.12952, and the code that
its authors released: a convolutional stem, then a transformer over its places and one token more, the last,
which speaks for the picture as a whole. Their code leaves that token and the places' embedding as the memory
happened to hold them; here they begin at N(0, 0.02). Theirs sees 256 px always, ours a condition as it comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.types import Spec

SLOPE = 0.2  # of LeakyReLU; released code
SPREAD = 0.02  # of the embeddings at the start; ours, as in GPT and ViT
NARROWEST = 8  # channels of the stem


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """How large E is, and what it says where there is no condition."""

    width: int = 128  # numbers of a token within E; released code 512
    layers: int = 4  # of the transformer; released code 8
    heads: int = 4  # released code 8
    grid: int = 8  # tokens a side at least, and less than twice as many; released code 16
    hint: int = 32  # channels of what draws the condition (``hint``), ours; released code 0, none
    null: Literal["ones", "learned"] = "ones"  # no condition: a white picture (released code), or own tokens

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.heads) < 1 or self.grid < 2:
            raise UsageError(
                "A condition encoder needs a width, layers and heads of at least 1 and a grid of at least 2."
            )
        if self.hint < 0:
            raise UsageError(
                f"networks.encoder.hint is a number of channels, 0 (none) or more, not {self.hint}."
            )
        if self.width % self.heads:
            raise UsageError(
                f"networks.encoder.width {self.width} is split evenly among networks.encoder.heads "
                f"{self.heads}: make it a multiple."
            )


PAPER = EncoderConfig(width=512, layers=8, heads=8, grid=16, hint=0)


class ConditionEncoder(nn.Module):
    """E: pictures [N, Cc, S, S] -> tokens [N, T + 1, D]; T places row by row, the whole picture's token last.

    ``tokens``: D, the width that the denoiser reads; ``canvas``: channels and side of what its first layer
    makes of x_t, to which the drawn condition is added (None: x_t's). UsageError for a condition that is no
    picture.
    """

    def __init__(
        self, spec: Spec, cfg: EncoderConfig, *, tokens: int, canvas: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        side = spec.side or spec.size
        if spec.condition != "picture" or side < 2:
            raise UsageError(
                "PITI starts from a picture (labels, edges, a masked or grey picture); from "
                f"{_GIVEN.get(spec.condition, 'a single place')} --method diffusion makes pictures."
            )
        self.shape = (spec.width, side, side)
        self.stem = Stem(spec.width, side, cfg)
        width, places = cfg.width, self.stem.side**2
        self.places = nn.Parameter(SPREAD * torch.randn(1, places, width))
        self.whole = nn.Parameter(SPREAD * torch.randn(1, 1, width))
        self.blocks = nn.Sequential(*(Block(width, cfg.heads) for _ in range(cfg.layers)))
        self.norm = nn.LayerNorm(width)
        self.say = nn.Identity() if width == tokens else nn.Linear(width, tokens)
        canvas = canvas or (spec.channels, spec.size)
        self.drawn = _drawing(spec.width, side, cfg.hint, canvas) if cfg.hint and canvas[1] <= side else None
        self.nothing = (
            nn.Parameter(SPREAD * torch.randn(1, places + 1, tokens)) if cfg.null == "learned" else None
        )

    def forward(self, c: Tensor, dropped: Tensor | None = None) -> Tensor:
        """c [N, Cc, S, S] -> tokens [N, T + 1, D]; rows that are ``dropped`` [N] (bool) have no condition."""
        if dropped is not None and self.nothing is None:
            c = torch.where(dropped[:, None, None, None], 1.0, c)
        h = self.stem(c).flatten(2).mT + self.places
        h = self.blocks(torch.cat([h, self.whole.expand(len(h), -1, -1)], 1))
        tokens = self.say(self.norm(h))
        if dropped is not None and self.nothing is not None:
            tokens = torch.where(dropped[:, None, None], self.nothing, tokens)
        return tokens

    def hint(self, c: Tensor, dropped: Tensor | None = None) -> Tensor | None:
        """The condition as it is drawn, [N, *canvas], at first 0; None: not at all.

        It is added to what the denoiser's first layer makes of x_t: tokens say little of where things are,
        and a denoiser learns slowly which of them belongs to which place.
        """
        if self.drawn is None:
            return None
        if dropped is None:
            return self.drawn(c)
        there = ~dropped[:, None, None, None]
        if self.nothing is None:
            return self.drawn(torch.where(there, c, 1.0))
        return torch.where(there, self.drawn(c), 0.0)

    def vector(self, tokens: Tensor) -> Tensor:
        """The token [N, D] that speaks for the whole picture, which is added to the embedding of time."""
        return tokens[:, -1]


class Stem(nn.Sequential):
    """Pictures [N, Cc, S, S] -> [N, width, side, side]: 7x7, 3x3 halving, 3x3; channels double to ``width``.

    ``side`` is at least ``cfg.grid``, where the pictures are not smaller themselves, and less than twice it.
    """

    def __init__(self, given: int, side: int, cfg: EncoderConfig) -> None:
        halved = 0
        while (side + 1) // 2 >= cfg.grid:
            side, halved = (side + 1) // 2, halved + 1
        widths = [max(NARROWEST, cfg.width >> i) for i in range(halved, -1, -1)]
        layers: list[nn.Module] = [*_conv(given, widths[0], 7, 1)]
        for narrow, wide in zip(widths, widths[1:], strict=False):
            layers += _conv(narrow, wide, 3, 2)
        super().__init__(*layers, nn.Conv2d(widths[-1], cfg.width, 3, 1, 1))
        self.side = side


def _drawing(given: int, side: int, width: int, canvas: tuple[int, int]) -> nn.Sequential:
    """Pictures [N, given, side, side] -> [N, *canvas], at first 0; twice as wide wherever they are halved."""
    made, wanted = canvas
    layers: list[nn.Module] = [nn.Conv2d(given, width, 3, 1, 1), nn.SiLU()]
    while side // 2 >= wanted:
        layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.SiLU()]
        width, side = 2 * width, (side + 1) // 2
    layers += [nn.Conv2d(width, width, 3, 1, 1), nn.SiLU()]
    if side != wanted:
        layers.append(nn.AdaptiveAvgPool2d(wanted))
    last = nn.Conv2d(width, made, 3, 1, 1)
    for p in last.parameters():
        nn.init.zeros_(p)
    return nn.Sequential(*layers, last)


def _conv(given: int, made: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(given, made, kernel, stride, kernel // 2),
        nn.InstanceNorm2d(made, affine=True),
        nn.LeakyReLU(SLOPE),
    )


class Block(nn.Module):
    """A layer of a transformer, each part normalised before it (pre-LN): [N, T, D] -> [N, T, D]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h: Tensor) -> Tensor:
        qkv = self.qkv(self.norm_attention(h)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*qkv.unbind(0))
        h = h + self.out(seen.transpose(1, 2).flatten(2))
        return h + self.dense(self.norm_dense(h))


_GIVEN = {"none": "nothing", "category": "a category", "vector": "a vector", "sentence": "words"}
