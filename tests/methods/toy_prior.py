"""A prior small enough for a test, with all that could be moved by mistake, and PITI upon it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from redraft.core.rng import stream
from redraft.core.types import Pair, Spec
from redraft.methods.piti import Piti
from redraft.nets.condition_encoder import ConditionEncoder, EncoderConfig
from redraft.sampling.diffusion import Process, Schedule

SPEC = Spec(size=8, channels=1, condition="picture", width=2)
WIDTH = 16  # of a token
SCHEDULE = Schedule(steps=100)


class Prior(nn.Module):
    """A denoiser with dropout, a statistic that training would move, and a new ear for tokens."""

    z_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 8, 3, 1, 1), nn.Conv2d(8, 1, 3, 1, 1)
        self.norm, self.drop = nn.BatchNorm2d(8), nn.Dropout(0.5)
        self.ear, self.deaf = nn.Linear(WIDTH, 8), False

    def added(self) -> list[nn.Parameter]:
        return [] if self.deaf else list(self.ear.parameters())

    def forward(self, x_t: Tensor, t: Tensor, tokens: Tensor, vector: Tensor, hint: Tensor) -> Tensor:
        x_t = x_t + hint
        time = (t / 100).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
        h = self.norm(self.first(torch.cat([x_t, time], 1)))
        heard = self.ear(torch.cat([tokens, vector[:, None]], 1).sin()).mean(1)[:, :, None, None]
        return self.last(self.drop((h + heard).relu()))


def method(keep: object = None, no: str = "ones", **settings: object) -> Piti:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        cfg = EncoderConfig(width=16, layers=1, heads=2, grid=2, null=no)  # type: ignore[arg-type]
        encoder, prior = ConditionEncoder(SPEC, cfg, tokens=WIDTH), Prior()
    with torch.no_grad():
        prior.norm.get_buffer("running_mean").uniform_(-0.5, 0.5, generator=stream(1))
    given = {"schedule": SCHEDULE, "steps": 4, "draft_steps": 2, **settings}
    return Piti(
        Piti.Config(**given),  # type: ignore[arg-type]
        encoder=encoder,
        initializer=prior,  # type: ignore[arg-type]
        process=Process(SCHEDULE),
        **({} if keep is None else {"keep": keep}),  # type: ignore[arg-type]
    )


def batch_at(t: int, n: int = 4) -> Pair:
    c = torch.rand(n, 2, 8, 8, generator=stream(3, t)) * 2 - 1
    return Pair(c, c.mean(1, keepdim=True))
