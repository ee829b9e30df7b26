"""How a run is trained: every number with its default and its source."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from redraft.core.errors import UsageError, unknown

Precision = Literal["auto", "float32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Settings of ``train``; those with a value per network are keyed by the method's network names."""

    steps: int | None = None  # this or minutes
    minutes: float | None = None  # the schedule then follows the clock: see ``schedule.Length``
    batch: int = 32  # pictures in a step, over all processes
    lr: dict[str, float] = field(default_factory=lambda: {"solver": 1e-3, "initializer": 2e-3})  # Adam's
    betas: dict[str, tuple[float, float]] = field(  # Adam's; no momentum for the energy
        default_factory=lambda: {"solver": (0.0, 0.99), "initializer": (0.5, 0.99)}
    )
    amsgrad: bool = False  # Adam divides by the largest second moment so far (Reddi et al. 2018)
    ema: dict[str, float] = field(default_factory=lambda: {"solver": 0.0, "initializer": 0.99})  # 0 = none
    clip: dict[str, float] = field(default_factory=lambda: {"solver": 0.0, "initializer": 0.0})  # 0 = none
    warmup: int = 20  # steps of linear warm-up
    decay: float = 0.1  # the learning rate's last factor; it falls linearly over the second half
    accumulate: int = 1  # parts in which a batch passes through the networks, to save memory
    precision: Precision = "auto"  # bf16 where the GPU has it, else float32; energies stay float32
    compile: bool = False  # torch.compile of the networks
    shard: bool = False  # FSDP2: weights, gradients and optimizer split over the processes
    energy_limit: float | None = 100.0  # see ``watchdog``; None: let energies grow (the papers' runs)
    checkpoint_every: int = 250  # steps; also how far the watchdog can have to go back
    keep: int = 3  # checkpoints kept
    sample_every: int = 500  # steps between pictures; the first come at 10, 20, 50, 100, ...

    def __post_init__(self) -> None:
        if self.steps is not None and self.minutes is not None:
            raise UsageError("Give train.steps or train.minutes, not both.")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"train.steps must be at least 1, not {self.steps}.")
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(f"train.minutes must be greater than 0, not {self.minutes}.")
        for name in ("batch", "accumulate", "checkpoint_every", "sample_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"train.{name} must be at least 1, not {getattr(self, name)}.")
        if self.keep < 2:  # one to use when the other is damaged
            raise UsageError(f"train.keep must be at least 2, not {self.keep}.")
        if self.warmup < 0 or not 0 <= self.decay <= 1:
            raise UsageError("train.warmup must not be negative, and train.decay lies between 0 and 1.")
        for name, rate in self.lr.items():
            if not 0 < rate < math.inf:
                raise UsageError(f"train.lr.{name} must be greater than 0 and finite, not {rate}.")
        for name, betas in self.betas.items():
            if not all(0 <= beta < 1 for beta in betas):
                raise UsageError(f"train.betas.{name} lie between 0 and 1, not {list(betas)}.")
        for name, norm in self.clip.items():
            if not norm >= 0:
                raise UsageError(f"train.clip.{name} is 0 (none) or a gradient's norm, not {norm}.")
        if self.energy_limit is not None and not self.energy_limit > 0:
            raise UsageError(f"train.energy_limit must be greater than 0, or null, not {self.energy_limit}.")
        for name, value in self.ema.items():
            if not 0 <= value < 1:
                raise UsageError(f"train.ema.{name} lies between 0 (none) and 1, not {value}.")

    def fit(self, networks: Iterable[str]) -> None:
        """Refuse settings that lack a network's learning rate, or name a network that is not there.

        The two parts of every method may be named where a method trains but one of them.
        """
        names = list(networks)
        for key in ("lr", "betas", "ema", "clip"):
            for name in getattr(self, key):
                if name not in (*names, "solver", "initializer"):
                    raise unknown(f"network for train.{key}:", name, names)
        for name in names:
            if name not in self.lr:
                raise UsageError(f"Network {name!r} needs a learning rate: --set train.lr.{name}=1e-3.")
