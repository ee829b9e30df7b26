"""What a flow keeps of a condition: h = H(c), computed once a batch and given to every block."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.types import Spec

Norm = Literal["layer", "batch", "none"]
HIDDEN = 256  # of H of a vector or category; published
SLOPE = 0.01
GRID = 4  # side to which a picture is brought before a vector is made of it


class Embedder(nn.Module):
    """H of Net2Net: c -> one h for each grid of the flow.

    h is a vector [N, embed]; only of a picture, for grids of side s, a map [N, embed, s, s]. None without a
    condition.
    """

    def __init__(self, spec: Spec, embed: int, norm: Norm, grids: tuple[int, ...]) -> None:
        super().__init__()
        self.kind, self.width, self.grids = spec.condition, spec.width, grids
        self.body: nn.Module | None = None
        if spec.condition in ("vector", "category"):
            self.body = Dense(spec.width, embed, norm)
        elif spec.condition == "picture" and grids == (1,):
            self.body = Flat(spec.width, embed)
        elif spec.condition == "picture":
            self.body = Maps(spec.width, embed, spec.size, grids)

    def forward(self, c: Any) -> list[Tensor | None]:
        if self.body is None:
            return [None] * len(self.grids)
        if isinstance(self.body, Maps):
            return list(self.body(c))
        if self.kind == "category":
            c = F.one_hot(c, self.width).to(next(self.body.parameters()).dtype)
        return [self.body(c)] * len(self.grids)


class Dense(nn.Sequential):
    """[N, width] -> [N, embed] as published, four layers, but that each row is normalised by itself.

    Published: batch norm, whose statistics of 6 to 16 rows are noise that the flow must fit as well.
    """

    def __init__(self, width: int, embed: int, norm: Norm) -> None:
        layers: list[nn.Module] = []
        for n in (width, HIDDEN, HIDDEN):
            normed = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d, "none": nn.Identity}[norm]
            layers += [nn.Linear(n, HIDDEN), normed(HIDDEN), nn.LeakyReLU(SLOPE)]
        super().__init__(*layers, nn.Linear(HIDDEN, embed))

    def forward(self, c: Tensor) -> Tensor:
        if self.training and len(c) == 1 and any(isinstance(m, nn.BatchNorm1d) for m in self):
            raise UsageError(
                "networks.flow.norm=batch learns from the statistics of a batch, which one example has not: "
                "make train.batch at least twice its parts (processes times train.accumulate), or set "
                "networks.flow.norm=layer."
            )
        return super().forward(c)


class Flat(nn.Sequential):
    """[N, width, s, s] of any side -> [N, embed]: three convolutions, a 4x4 grid, two dense layers."""

    def __init__(self, width: int, embed: int) -> None:
        super().__init__(
            *(nn.Conv2d(width, 64, 3, 1, 1), nn.LeakyReLU(SLOPE)),
            *(nn.Conv2d(64, 64, 4, 2, 1), nn.LeakyReLU(SLOPE)),
            *(nn.Conv2d(64, 64, 3, 1, 1), nn.LeakyReLU(SLOPE)),
            *(nn.AdaptiveAvgPool2d(GRID), nn.Flatten()),
            *(nn.Linear(64 * GRID**2, HIDDEN), nn.LeakyReLU(SLOPE), nn.Linear(HIDDEN, embed)),
        )

    def forward(self, c: Tensor) -> Tensor:
        point = c.shape[-1] == 1  # of which a stride makes nothing
        return super().forward(c.expand(-1, -1, 2, 2) if point else c)


class Maps(nn.Module):
    """[N, width, S, S] -> [N, embed, s, s] for each grid: 3x3 convolutions that see 9 px."""

    def __init__(self, width: int, embed: int, size: int, grids: tuple[int, ...]) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, embed, 3, 1, 1)
        self.more = nn.ModuleList(nn.Conv2d(embed, embed, 3, 1, 1) for _ in range(2))
        self.ways = nn.ModuleList()
        for grid in grids:
            strides = [2] * ((size // grid).bit_length() - 1) or [1]
            layers = [m for s in strides for m in (nn.LeakyReLU(SLOPE), nn.Conv2d(embed, embed, 3, s, 1))]
            self.ways.append(nn.Sequential(*layers))
            size = grid

    def forward(self, c: Tensor) -> list[Tensor]:
        h, out = self.first(c), []
        for conv in self.more:
            h = h + conv(F.leaky_relu(h, SLOPE))
        for way in self.ways:
            h = way(h)
            out.append(h)
        return out
