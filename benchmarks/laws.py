"""Laws whose modes can be counted, and the networks that are to learn them: for ``modes.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.types import Spec
from redraft.evaluation.fit import fit, seeded
from redraft.methods.gan import Gan
from redraft.nets.decoder import Decoder
from redraft.nets.energy import GlobalEnergy
from redraft.nets.parts import Code, Energy, Initializer
from redraft.nets.residual import ResidualDecoder, ResidualEnergy
from redraft.training import Train

Scores = dict[str, float]


class Problem(Protocol):
    """A law with modes that can be counted, and the networks that are to learn it."""

    name: str
    modes: int
    samples: int  # drawn to be scored
    steps: int  # of a plain training
    settings: dict[str, Gan.Config]  # by the name of the loss
    networks: tuple[str, ...]
    train: Train

    def real(self, n: int, g: torch.Generator) -> Tensor: ...

    def build(self, network: str) -> tuple[Energy, Initializer]: ...

    def score(self, x: Tensor) -> Scores: ...


# ---- 25 Gaussians

GRID = torch.cartesian_prod(*[torch.linspace(-0.8, 0.8, 5)] * 2)  # centres [25, 2]
SPREAD = 0.04  # standard deviation of each; neighbours are 10 of them apart


class PointEnergy(Energy):
    """x [N, 2, 1, 1] -> E [N]: sines and cosines of x at octaves, then dense layers.

    On x alone a small network needs ten times the steps before it sees anything as narrow as a mode.
    """

    octaves: Tensor

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.register_buffer("octaves", torch.pi * 2.0 ** torch.arange(4))
        self.body = dense(18, width, layers, 1)

    def encode(self, c: Tensor | None) -> Code:
        return ()

    def forward(self, x: Tensor, code: Code) -> Tensor:
        waves = (x.flatten(1)[:, :, None] * self.octaves).flatten(1)
        return -self.body(torch.cat([2 * x.flatten(1), waves.sin(), waves.cos()], 1)).squeeze(1)


class PointInitializer(Initializer):
    """z [N, 2] -> x [N, 2, 1, 1] in [-1, 1]."""

    z_shape = (2,)

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.body = dense(2, width, layers, 2)
        for layer in self.body[::2]:
            nn.init.kaiming_normal_(layer.weight, 0.2)
        self.body[-1].weight.data *= 3  # begins spread over all of the square

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        return torch.tanh(self.body(z))[:, :, None, None]


def dense(inputs: int, width: int, layers: int, outputs: int) -> nn.Sequential:
    sides = [inputs, *[width] * layers]
    hidden = [m for a, b in zip(sides, sides[1:], strict=False) for m in (nn.Linear(a, b), nn.LeakyReLU(0.2))]
    return nn.Sequential(*hidden, nn.Linear(width, outputs))


class Points:
    name, modes, samples = "points", 25, 2500
    settings = {
        "non-saturating, R1 0.003": Gan.Config(r1=0.003),
        "least squares": Gan.Config(loss="least_squares", r1=0.0),
    }
    networks = ("2 x 64", "3 x 128")
    train = Train(
        batch=128,
        lr={"solver": 1e-3, "initializer": 1e-3},
        betas={"solver": (0.5, 0.99), "initializer": (0.5, 0.99)},
        energy_limit=None,
        checkpoint_every=10**6,
        sample_every=10**6,
    )

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def real(self, n: int, g: torch.Generator) -> Tensor:
        centres = GRID[torch.randint(25, (n,), generator=g)]
        return (centres + SPREAD * torch.randn(n, 2, generator=g))[:, :, None, None]

    def build(self, network: str) -> tuple[Energy, Initializer]:
        layers, width = map(int, network.split(" x "))
        return PointEnergy(layers, width), PointInitializer(layers, width)

    def score(self, x: Tensor) -> Scores:
        """A point is good within 3 standard deviations of a centre; a mode is found by one good point, and
        filled by a fifth of its fair share of them."""
        distance, nearest = torch.cdist(x.flatten(1), GRID).min(1)
        good = distance < 3 * SPREAD
        counts = torch.bincount(nearest[good], minlength=25)
        filled = (counts >= len(x) / 125).sum().item()
        return {"modes": (counts > 0).sum().item(), "filled": filled, "good": good.double().mean().item()}


# ---- stacked digits


class Stacked:
    name, modes, samples = "stacked", 1000, 10_000
    settings = {
        "non-saturating, R1 0.1": Gan.Config(r1=0.1),
        "hinge": Gan.Config(loss="hinge", r1=0.0),
    }
    networks = ("DCGAN-like", "residual, spectral norm")
    train = replace(Points.train, batch=32, betas={"solver": (0.0, 0.99), "initializer": (0.5, 0.99)})
    spec = Spec(size=28, channels=3, condition="none")

    def __init__(self, steps: int, digits: Tensor, classify: Callable[[Tensor], Tensor]) -> None:
        self.steps, self.digits, self.classify = steps, digits, classify

    def real(self, n: int, g: torch.Generator) -> Tensor:
        return self.digits[torch.randint(len(self.digits), (n, 3), generator=g)]

    def build(self, network: str) -> tuple[Energy, Initializer]:
        energy, decoder = (
            (GlobalEnergy, Decoder) if network == "DCGAN-like" else (ResidualEnergy, ResidualDecoder)
        )
        return energy(self.spec, 16), decoder(self.spec, 12, 64)

    def score(self, x: Tensor) -> Scores:
        """Modes with at least one picture, and KL(made || uniform) in nats."""
        labels = self.classify(x.flatten(0, 1)[:, None]).view(-1, 3)
        counts = torch.bincount(labels @ torch.tensor([100, 10, 1]), minlength=1000).double()
        share = counts[counts > 0] / counts.sum()
        return {"modes": float(len(share)), "kl": (share * (1000 * share).log()).sum().item()}


class Classifier(nn.Sequential):
    """Digits [N, 1, 28, 28] -> logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(1, 24, 5, 2, 2), nn.BatchNorm2d(24), nn.ReLU()),
            *(nn.Conv2d(24, 48, 3, 2, 1), nn.BatchNorm2d(48), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(48 * 49, 96), nn.ReLU(), nn.Linear(96, 10)),
        )


def classifier(x: Tensor, y: Tensor, steps: int = 2000) -> Callable[[Tensor], Tensor]:
    """digits -> labels; trained here on x [M, 1, 28, 28], y [M]."""
    net = seeded(Classifier)
    fit(net, lambda i, g: F.cross_entropy(net(x[i]), y[i]), len(x), steps=steps, batch=64, lr=2e-3)

    @torch.no_grad()
    def classify(x: Tensor) -> Tensor:
        return torch.cat([net(part).argmax(1) for part in x.split(1000)])

    return classify


def stacked(folder: Path, steps: int) -> Stacked:
    """The problem, with a classifier learned from the training digits and told how often it is right."""
    from redraft.data import build, recognise

    found = recognise(folder)
    digits = {}
    for split in ("train", "test"):
        store = build(found, split, size=28, channels=1)
        x = torch.from_numpy(store.target.copy()).float() / 127.5 - 1
        digits[split] = x, torch.from_numpy(store.category.copy())
    classify = classifier(*digits["train"])
    right = (classify(digits["test"][0]) == digits["test"][1]).double().mean()
    print(f"The classifier is right on {right:.1%} of the {len(digits['test'][0]):,} test digits.\n")
    return Stacked(steps, digits["train"][0][:, 0], classify)
