"""Network fusion (Net2Net; Rombach, Esser, Ommer, NeurIPS 2020, arXiv:2005.13580).

A conditional flow joins two frozen networks: it translates what the one makes of a condition, z_Φ, into
what the other makes of the picture, z_Θ. What z_Φ does not say of z_Θ is the residual v, independent of it:

    z_Θ = τ(v | z_Φ)        v = τ⁻¹(z_Θ | z_Φ)        q(v) = N(v; 0, I)

    min over τ of  E[ −log q(τ⁻¹(z_Θ | z_Φ)) − log|det ∂v/∂z_Θ| ]                                       (4)

That is maximum likelihood of p(z_Θ | z_Φ); experts take no part in it and need no gradients. Here c = z_Φ,
x = z_Θ, τ is ``initializer(v, c)`` and τ⁻¹ is ``initializer.inverse(x, c)``.

Otherwise than published: the loss is in nats a number (eq. 4 with its constant, divided by d, so that a
learning rate suits any d); ActNorm starts from a few hundred examples, not from the first 6 to 16; softly
limited scales and no batch norm unless asked for (nets/flow.py); noise on representations, see ``Config``.

Where pictures of two domains have no partners, the condition is the domain (``domains``): the flow learns the
pictures of both sides, and one is translated with its residual kept: v = τ⁻¹(c | given), then τ(v | wanted).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, Noise, stream
from redraft.core.types import Pair
from redraft.methods.method import Sample, Update
from redraft.nets.couplings import Moved
from redraft.nets.flow import Flow

GIVEN, WANTED = 0, 1  # the two domains


class Fusion(nn.Module):
    """A flow τ learned by maximum likelihood; drafts are its samples, and there is no solver to refine them.

    With ``domains`` the flow's condition is a category of two, and ``Pair.condition`` a representation of the
    given side in the target's own space.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        hold_back: int = 0  # every so manieth training picture is for choosing the weights kept; 0: the last
        temperature: float = 1.0  # sd of v drawn for pictures (none is of two domains); published 1
        data_noise: float = (
            0.01  # sd of noise on x (whose own is about 0.29), so that no density is endless; 0
        )
        condition_noise: float = (
            0.0  # sd of noise on a vector or picture condition (own: about 1), for few pairs; 0
        )

        def __post_init__(self) -> None:
            if self.hold_back < 0 or self.hold_back == 1:
                raise UsageError(f"method.hold_back is 2 or more, or 0 (none), not {self.hold_back}.")
            for name in ("temperature", "data_noise", "condition_noise"):
                if not 0 <= getattr(self, name) < math.inf:
                    raise UsageError(f"method.{name} is 0 or more, not {getattr(self, name)}.")

    stage = ""
    refine_steps = 0

    def __init__(self, cfg: Config, *, initializer: Flow, domains: bool = False) -> None:
        super().__init__()
        self.cfg, self.initializer, self.domains = cfg, initializer, domains

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"initializer": self.initializer}

    def begin(self, batch: Pair) -> None:
        """Start the flow from a few hundred real examples: once, before training, alike in all processes."""
        c, x = self._examples(self._noisy(batch, BatchNoise(stream(0, "begin"))))  # no density is endless
        self.initializer.begin(x, c)

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        v, logdet = self._inverse(self._noisy(batch, rng))
        loss = nats(v, logdet).mean()
        update(self.initializer, loss)
        half_norm = v.square().mean()  # ½‖v‖² over its expected d/2: 1 once v is N(0, I)
        return {"loss_initializer": loss, "energy_data": loss, "half_norm": half_norm}

    def untold(self, batch: Pair) -> Tensor:
        """−log p(x | c) / d [N] of examples, of two domains [2N]: what training lowers, without its noise."""
        return nats(*self._inverse(batch))

    def generate(
        self, c: Any, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        if refine:
            raise UsageError(
                "A fusion alone has no solver that could refine its drafts; train one on top of it with: "
                "redraft train DATA --method solver --initializer RUN, or leave --refine out."
            )
        with torch.no_grad():
            v, where = self.cfg.temperature * rng.normal(n, *self.initializer.z_shape), c
            if self.domains:
                v, where = self.residual(c, domain(c, GIVEN)), domain(c, WANTED)
            x, logdet = self.initializer.draft(v, where)
            energies = nats(v, logdet)
        return Sample(x, x, energies, energies, [x] if trace else [], energies.new_zeros(0, n))

    @torch.no_grad()
    def energy(self, x: Tensor, c: Any) -> Tensor:
        """−log p(x | c) / d [N], nats a number; with ``domains`` of the wanted side's density."""
        return nats(*self.initializer.inverse(x, domain(x, WANTED) if self.domains else c))

    # ---- the residual of a real picture

    @torch.no_grad()
    def residual(self, x: Tensor, c: Any) -> Tensor:
        """v = τ⁻¹(x | c) [N, C, s, s]: what x says and c does not."""
        return self.initializer.inverse(x, c)[0]

    @torch.no_grad()
    def from_residual(self, v: Tensor, c: Any) -> Tensor:
        """x = τ(v | c) [N, C, s, s]: with an exemplar's residual, what c says in the exemplar's manner."""
        return self.initializer(v, c)

    def exchange(self, x: Tensor, c_from: Any, c_to: Any, strength: float = 1.0) -> Tensor:
        """x with c_to in place of c_from, its residual kept: x'; of ``strength`` α, (1 − α) x + α x'.

        The blend is the authors' demonstration's; 0 gives x, 1 gives x', beyond 1 exaggerates.
        """
        return torch.lerp(x, self.from_residual(self.residual(x, c_from), c_to), strength)

    # ---- what the flow learns from

    def _examples(self, batch: Pair) -> Pair:
        """The flow's conditions and targets: of two domains, the pictures of both sides."""
        c, x = batch
        if not self.domains:
            return batch
        assert c is not None
        return Pair(torch.cat([domain(c, GIVEN), domain(x, WANTED)]), torch.cat([c, x]))

    def _inverse(self, batch: Pair) -> Moved:
        c, x = self._examples(batch)
        return self.initializer.inverse(x, c)

    def _noisy(self, batch: Pair, rng: Noise) -> Pair:
        cfg, (c, x) = self.cfg, batch
        x = x + cfg.data_noise * rng.normal(*x.shape)
        amount = cfg.data_noise if self.domains else cfg.condition_noise
        if amount and c is not None and c.is_floating_point():
            c = c + amount * rng.normal(*c.shape)
        return Pair(c, x)


def nats(v: Tensor, logdet: Tensor) -> Tensor:
    """−log p(x | c) / d [N], what eq. 4 averages, from v = τ⁻¹(x | c) [N, ...] and log|det ∂v/∂x| [N]."""
    d = v[0].numel()
    return (0.5 * v.square().flatten(1).sum(1) - logdet) / d + 0.5 * math.log(2 * math.pi)


def domain(x: Tensor, which: int) -> Tensor:
    """int64 [N]: a domain's number for each row of x."""
    return torch.full((len(x),), which, device=x.device)
