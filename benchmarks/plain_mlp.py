"""A plain MLP from a condition to a vector, as large as a flow, and its training by squared error."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from redraft.core.rng import Noise
from redraft.core.types import Pair, Spec
from redraft.methods.method import Sample, Update
from redraft.nets.blocks import parameters
from redraft.nets.conditioning import SLOPE, Embedder
from redraft.nets.flow import Flow, FlowConfig
from redraft.nets.parts import Initializer
from redraft.nets.regression import Regression


class Mlp(Initializer):
    """x [N, d, 1, 1] = MLP(H(c)): the flow's own H, then four layers; z is not looked at."""

    def __init__(self, spec: Spec, cfg: FlowConfig, width: int) -> None:
        super().__init__()
        self.z_shape = (spec.channels, 1, 1)
        self.embed = Embedder(spec, cfg.embed, cfg.norm, (1,))
        layers: list[nn.Module] = []
        for inside, outside in ((cfg.embed, width), (width, width), (width, width)):
            layers += [nn.Linear(inside, outside), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, spec.channels))
        self.line = Regression(spec) if cfg.regression else None

    def forward(self, z: Tensor | None, c: Tensor) -> Tensor:
        (h,) = self.embed(c)
        x = self.layers(h)[:, :, None, None]
        return x if self.line is None else x + self.line(c)

    def begin(self, x: Tensor, c: Tensor) -> None:
        """At the straight line, where there is one: the last layer adds nothing then."""
        if self.line is not None:
            self.line.fit(c, x)
            for p in self.layers[-1].parameters():
                nn.init.zeros_(p)


def equal(spec: Spec, cfg: FlowConfig, flow: Flow) -> Mlp:
    """The MLP whose weights are as many as the flow's, to the nearest width."""
    rest = parameters(flow) - parameters(flow.embed) - spec.channels
    linear = cfg.embed + spec.channels + 3  # 2 w² + linear w = rest
    width = (-linear + (linear**2 + 8 * rest) ** 0.5) / 4
    return Mlp(spec, cfg, max(1, round(width)))


class SquaredError(nn.Module):
    """E|x − MLP(c)|², trained as any method of redraft."""

    stage = ""
    refine_steps = 0

    def __init__(self, initializer: Mlp) -> None:
        super().__init__()
        self.initializer = initializer

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"initializer": self.initializer}

    def begin(self, batch: Pair) -> None:
        self.initializer.begin(batch.target, batch.condition)

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        loss = self.energy(batch.target, batch.condition).mean()
        update(self.initializer, loss)
        return {"loss_initializer": loss}

    def energy(self, x: Tensor, c: Tensor) -> Tensor:
        return (self.initializer(None, c) - x).square().flatten(1).mean(1)

    @torch.no_grad()
    def generate(self, c: Tensor, n: int, rng: Noise, *, refine: int | None = None) -> Sample:
        x = self.initializer(None, c)
        return Sample(x, x, x.new_zeros(n), x.new_zeros(n), [], x.new_zeros(0, n))
