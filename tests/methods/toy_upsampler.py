"""An upsampler small enough for a test, behind the toy prior: 8 px become 16."""

from __future__ import annotations

from dataclasses import replace

import torch
from tests.methods import toy_prior
from torch import Tensor, nn

from redraft.core.rng import stream
from redraft.core.types import Pair
from redraft.methods.piti import Piti
from redraft.methods.upsampler import Upsampler, Upsampling
from redraft.nets.condition_encoder import ConditionEncoder, EncoderConfig
from redraft.nets.parts import Energy
from redraft.sampling.diffusion import Process, Schedule

SPEC = replace(toy_prior.SPEC, size=16)
SCHEDULE = Schedule(steps=100)


class Enlarger(nn.Module):
    """A denoiser that sees a small picture beside x_t."""

    z_shape = (1, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 1, 3, 1, 1)
        self.ear = nn.Linear(toy_prior.WIDTH, 8)

    def forward(
        self, x_t: Tensor, t: Tensor, tokens: Tensor, vector: Tensor, hint: Tensor, beside: Tensor
    ) -> Tensor:
        time = (t / 100).view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
        heard = self.ear(torch.cat([tokens, vector[:, None]], 1).sin()).mean(1)[:, :, None, None]
        return self.last((self.first(torch.cat([x_t + hint, beside, time], 1)) + heard).relu())


class Critic(Energy):
    """A logit for each of 4 x 4 patches."""

    def __init__(self) -> None:
        super().__init__()
        self.look, self.out = nn.Conv2d(1, 8, 4, 4), nn.Conv2d(8, 1, 1)

    def encode(self, c: object) -> tuple[Tensor, ...]:
        return ()

    def logits(self, x: Tensor, code: object) -> Tensor:
        return self.out(self.look(x).relu()).squeeze(1)

    def forward(self, x: Tensor, code: object) -> Tensor:
        return -self.logits(x, code).mean((1, 2))


def distance(x: Tensor, y: Tensor) -> Tensor:
    """How far slopes are apart."""
    return (x.diff(dim=-1) - y.diff(dim=-1)).abs().flatten(1).mean(1)


def upsampler(**settings: object) -> Upsampler:
    given = {"factor": 2, "schedule": SCHEDULE, "steps": 3, **settings}
    cfg = Upsampling(**given)  # type: ignore[arg-type]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        encoder = ConditionEncoder(SPEC, EncoderConfig(width=16, layers=1, heads=2, grid=2), tokens=16)
        enlarger = Enlarger()
        critic = Critic() if cfg.adversarial else None
    return Upsampler(cfg, encoder=encoder, denoiser=enlarger, critic=critic, perceptual=distance)  # type: ignore[arg-type]


def method(keep: object = None, upsampling: dict[str, object] | None = None, **settings: object) -> Piti:
    """PITI with its fourth stage."""
    small, last = toy_prior.method(), upsampler(**(upsampling or {}))
    given = {"schedule": toy_prior.SCHEDULE, "steps": 4, "draft_steps": 2, **settings}
    return Piti(
        Piti.Config(**given, upsampler=last.cfg),  # type: ignore[arg-type]
        encoder=small.encoder,
        initializer=small.initializer,
        upsampler=last,
        process=Process(toy_prior.SCHEDULE),
        **({} if keep is None else {"keep": keep}),  # type: ignore[arg-type]
    )


def batch_at(t: int, n: int = 4) -> Pair:
    c = torch.rand(n, 2, 16, 16, generator=stream(5, t)) * 2 - 1
    return Pair(c, c.mean(1, keepdim=True))
