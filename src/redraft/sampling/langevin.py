"""Langevin dynamics on an energy: the slow thinking of every method here.

The law (Xie et al., CoopNets, arXiv:1609.09408; CCoopNets, arXiv:1902.02812):

    p(x) ∝ exp(−E(x)) · N(x; 0, s²I)
    x ← x − (δ²/2) (∇E(x) + x/s²) + δ ε,        ε ~ N(0, I)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from redraft.core.errors import UsageError
from redraft.core.filters import blur
from redraft.core.rng import Noise

Energy = Callable[[Tensor], Tensor]  # x [N, ...] -> E [N]
Keep = Callable[[Tensor], Tensor]  # puts back what is known of x


@dataclass(frozen=True, kw_only=True)
class Langevin:
    """How a chain moves. The defaults are the later practice; ``Langevin.classic()`` is the papers'."""

    steps: int = 5  # K; papers 10-20
    delta: float = 2.45  # δ, step size; papers 0.002 (with s = 0.016). δ²/2 multiplies the gradient
    noise: float | None = 0.0  # sd of the noise in a step; None = δ, the law (with no smooth, clip, clamp)
    reference: float | None = None  # s of the reference Gaussian; papers 0.016; None = no reference
    drift_clip: float | None = 0.05  # largest move of a pixel in a step; CoopFlow 0.1, IGEBM 0.1
    clamp: bool = True  # keep x in [-1, 1]; CoopFlow
    smooth: float = 0.75  # share a of blur in the preconditioner (1-a)I + aB; ours, 0 = none
    relative: float = 0.0  # rms of a picture's first move, which sets its δ for the chain; 0: δ as given

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise UsageError(f"langevin.steps counts steps, so it cannot be {self.steps}.")
        if self.delta <= 0 or (self.reference is not None and self.reference <= 0):
            raise UsageError("langevin.delta and langevin.reference must be greater than 0.")
        if self.relative < 0:
            raise UsageError(f"langevin.relative is a move in units of x, 0 or more, not {self.relative}.")
        if not 0 <= self.smooth <= 1:
            raise UsageError(f"langevin.smooth is a share between 0 and 1, not {self.smooth}.")

    @staticmethod
    def classic(steps: int = 15, delta: float = 0.002, s: float = 0.016) -> Langevin:
        """The papers' chain: full noise, reference Gaussian, no clip, no clamp, no preconditioner."""
        return Langevin(
            steps=steps, delta=delta, noise=None, reference=s, drift_clip=None, clamp=False, smooth=0
        )


class Chain(NamedTuple):
    """Where a chain ended, and how it got there.

    ``energies`` [K, N] are taken before each step (they cost nothing); ``drift`` is the root mean
    square of the first step's move before clipping; ``move`` that of the whole way, in units of x.
    """

    x: Tensor
    energies: Tensor
    drift: Tensor
    move: Tensor
    trace: list[Tensor]


def langevin(
    energy: Energy,
    x: Tensor,
    cfg: Langevin,
    rng: Noise,
    *,
    steps: int | None = None,
    keep: Keep | None = None,
    trace: bool = False,
) -> Chain:
    """Run K steps from ``x`` [N, ...]; only gradients with respect to x are computed.

    ``keep`` is applied after every step (known pixels stay what they are). ``trace`` returns each x.
    """
    # oneDNN's convolutions are 1.2 to 1.5 times as fast in channels-last when no weight gradient is
    # taken, and slower when one is: so the chain alone runs in that layout.
    x = start = _channels_last(x.detach())
    drift, rate = x.new_zeros(()), x.new_tensor(cfg.delta**2 / 2)
    energies, path = [], [x] if trace else []
    for k in range(cfg.steps if steps is None else steps):
        with torch.enable_grad():  # whatever the caller's mode
            here = x.detach().requires_grad_()
            e = energy(here)
            (gradient,) = torch.autograd.grad(e.sum(), here)
        with torch.no_grad():
            step = _drift(gradient, x, cfg)
            if k == 0 and cfg.relative:
                rate = _rate(step, cfg.relative)
            step = -rate * step
            if k == 0:
                drift = step.square().mean().sqrt()
            if cfg.drift_clip is not None:
                step = step.clamp_(-cfg.drift_clip, cfg.drift_clip)
            x = x + step
            if cfg.noise is None:
                x = x + (2 * rate).sqrt() * rng.normal(*x.shape)  # sd δ: the law
            elif cfg.noise:
                x = x.add_(rng.normal(*x.shape), alpha=cfg.noise)
            if cfg.clamp:
                x = x.clamp_(-1, 1)
            if keep is not None:
                x = _channels_last(keep(x))
        energies.append(e.detach())
        if trace:
            path.append(x)
    move = (x - start).square().mean().sqrt()
    stacked = torch.stack(energies) if energies else x.new_zeros(0, len(x))
    return Chain(x.contiguous(), stacked, drift, move, path)


def _drift(gradient: Tensor, x: Tensor, cfg: Langevin) -> Tensor:
    if cfg.reference is not None:
        gradient = gradient + x / cfg.reference**2
    if cfg.smooth:
        gradient = torch.lerp(gradient, blur(gradient), cfg.smooth)
    return gradient


def _rate(gradient: Tensor, relative: float) -> Tensor:
    """δ²/2 of each picture [N, 1, ...], such that its first move has rms ``relative``.

    For energies whose scale is not known, such as a discriminator's: fixed at the draft, so that a chain
    still comes to rest where the energy is flat (a move of fixed length at every step could not).
    """
    rms = gradient.flatten(1).square().mean(1).sqrt()
    return (relative / rms.clamp_min(1e-8)).view(-1, *[1] * (gradient.ndim - 1))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
