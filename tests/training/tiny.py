"""A cooperative pair small enough for a test, and made-up pictures to train it on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from redraft.core.rng import PictureNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.ccoopnets import CCoopNets
from redraft.sampling.langevin import Langevin
from redraft.sampling.pool import Pool

SIZE, CLASSES = 8, 3


class Solver(nn.Module):
    """E(x, c) of 8x8 grey pictures and three categories."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(1, 8, 4, 2, 1)
        self.name = nn.Embedding(CLASSES, 8)
        self.score = nn.Linear(8 * 16, 1)

    def encode(self, c: Tensor) -> tuple[Tensor, ...]:
        return (self.name(c),)

    def forward(self, x: Tensor, code: tuple[Tensor, ...]) -> Tensor:
        h = torch.nn.functional.silu(self.look(x) + code[0][:, :, None, None])
        return self.score(h.flatten(1)).squeeze(1).float()

    def given(self, c: Tensor):  # noqa: ANN201
        code = self.encode(c)
        return lambda x: self(x, code)


class Initializer(nn.Module):
    z_shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.name = nn.Embedding(CLASSES, 4)
        self.body = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, SIZE * SIZE), nn.Tanh())

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return self.body(torch.cat([z, self.name(c)], 1)).view(-1, 1, SIZE, SIZE)


def method(seed: int = 0, pool: int = 0, **settings: object) -> CCoopNets:
    """A CCoopNets with weights that are a function of the seed; no global randomness is used up."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        solver, initializer = Solver(), Initializer()
    # the papers' losses: under the saturating ones so small a net stays bounded even at a rate x 1000
    given = {"saturate": False, "wrong_conditions": 0.0, **settings}
    cfg = CCoopNets.Config(langevin=Langevin(steps=3, delta=1.0), **given)  # type: ignore[arg-type]
    spec = Spec(size=SIZE, channels=1, condition="category", width=CLASSES)
    chains = Pool(spec, pool) if pool else None
    return CCoopNets(cfg, solver=solver, initializer=initializer, pool=chains)


def batch_at(t: int, n: int = 8) -> Pair:
    """Category k is a bright bar in row 2k + 1 of a grey picture, with a little of its own."""
    g = stream(7, "made up", t)
    c = torch.randint(CLASSES, (n,), generator=g)
    x = torch.full((n, 1, SIZE, SIZE), -0.5)
    x[torch.arange(n), 0, 2 * c + 1] = 0.8
    return Pair(c, (x + 0.1 * torch.randn(x.shape, generator=g)).clamp(-1, 1))


def drafts(method: CCoopNets) -> Tensor:
    """Eight drafts of each category, [24, 1, 8, 8]."""
    c = torch.arange(CLASSES).repeat(8)
    return method.generate(c, len(c), PictureNoise(0, range(len(c))), refine=0).drafts
