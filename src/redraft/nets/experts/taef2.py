"""``image:taef2``: the tiny autoencoder of FLUX.2's latent space, whose weights are in the package.

Architecture and weights: Ollin Boer Bohan, github.com/madebyollin/taesd (MIT), the variant "taef2".
"""

from __future__ import annotations

from functools import partial
from importlib import resources

import torch
from torch import Tensor, nn

from redraft.nets.experts.expert import Expert, Shape, multiple_of

NAME = "image:taef2"
CHANNELS, FACTOR, WIDTH = 32, 8, 64  # of the latent, of the side, of every layer
conv = partial(nn.Conv2d, kernel_size=3, padding=1)


class Block(nn.Module):
    """Three convolutions and a skip; ``wide`` adds what the whole picture tells (1x1, GroupNorm, 1x1)."""

    def __init__(self, *, wide: bool = False) -> None:
        super().__init__()
        layers = [layer for _ in range(3) for layer in (conv(WIDTH, WIDTH), nn.ReLU())]
        self.conv = nn.Sequential(*layers[:-1])
        self.pool: nn.Sequential | None = None
        if wide:
            self.pool = nn.Sequential(
                nn.Conv2d(WIDTH, 4 * WIDTH, 1, bias=False),
                nn.GroupNorm(4, 4 * WIDTH),
                nn.ReLU(),
                nn.Conv2d(4 * WIDTH, WIDTH, 1, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class Bounded(nn.Module):
    """A soft clamp to (-3, 3), where latents lie."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z / 3) * 3


def encoder() -> nn.Sequential:
    """Pictures [N, 3, S, S] in [0, 1] -> latents [N, 32, S/8, S/8]."""
    down = partial(conv, WIDTH, WIDTH, stride=2, bias=False)
    layers: list[nn.Module] = [conv(3, WIDTH), Block()]
    for wide in (False, False, True):
        layers += [down(), *(Block(wide=wide) for _ in range(3))]
    return nn.Sequential(*layers, conv(WIDTH, CHANNELS))


def decoder() -> nn.Sequential:
    """Latents [N, 32, s, s] -> pictures [N, 3, 8s, 8s], about in [0, 1]."""
    layers: list[nn.Module] = [Bounded(), conv(CHANNELS, WIDTH), nn.ReLU()]
    for wide in (True, False, False):
        layers += [Block(wide=wide) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), conv(WIDTH, WIDTH, bias=False)]
    return nn.Sequential(*layers, Block(), conv(WIDTH, 3))


class Taef2(Expert):
    """32 numbers for each 8 x 8 px; computed in float32 from weights stored in half precision."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):  # its first weights, thrown away, cost nobody else's dice
            net = nn.ModuleDict({"encoder": encoder(), "decoder": decoder()})
        net.load_state_dict({name: t.float() for name, t in weights().items()})
        super().__init__(
            net,
            name=NAME,
            kind="autoencoder",
            meaning="FLUX.2's latent of a picture: 32 numbers for each 8 x 8 px, each in about [-3, 3]",
            licence="MIT",
        )

    def shape(self, size: int) -> Shape:
        side = multiple_of(FACTOR, size, self.name)
        return (CHANNELS, side, side)

    def represent(self, given: Tensor) -> Tensor:
        return self.net["encoder"]((given + 1) / 2)  # type: ignore[index]

    def picture(self, z: Tensor) -> Tensor:
        return self.net["decoder"](z) * 2 - 1  # type: ignore[index]


def weights() -> dict[str, Tensor]:
    """The tensors of the package's file, float16."""
    from safetensors.torch import load

    return load((resources.files("redraft.nets.experts") / "weights" / "taef2.safetensors").read_bytes())
