"""What a method is: two verbs over networks that it is given. There is nothing to inherit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from redraft.core.rng import Noise
from redraft.core.types import Pair

Update = Callable[[nn.Module, Tensor], None]  # the trainer's verb: descend this loss in this net
Keep = Callable[[Tensor, Any], Tensor]  # (x, c) -> x with what c fixes put back


class Sample(NamedTuple):
    """What ``generate`` returns; all but ``trace`` have one row a picture."""

    drafts: Tensor  # [N, C, H, W] in [-1, 1]: one pass of the initializer
    images: Tensor  # [N, C, H, W] in [-1, 1]: after K steps of the solver (the drafts when K = 0)
    draft_energies: Tensor  # [N]
    energies: Tensor  # [N]
    trace: list[Tensor]  # K + 1 pictures [N, C, H, W] when asked for, else empty
    trace_energies: Tensor  # [K, N], before each step


class Method(Protocol):
    """The contract between a paper and the house.

    The trainer gives ``update``; the method has no optimizer, device, precision, checkpoint or
    process group. Every value that ``step`` returns is a scalar for the journal; the watchdog reads
    ``energy_data``, ``energy_draft``, ``energy_refined`` (means), ``move`` and ``drift``.
    """

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that ``step`` updates, by the names that settings use for them."""
        ...

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]: ...

    def generate(
        self, c: Any, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        """n pictures for the n conditions ``c``; ``refine`` is K (None: as in training, 0: drafts)."""
        ...

    def energy(self, x: Tensor, c: Any) -> Tensor:
        """E(x, c) [N], lower = more like the data; what the score is made of."""
        ...


def keep_nothing(x: Tensor, c: Tensor | None) -> Tensor:
    """The ``keep`` of a task whose condition fixes no pixel."""
    return x
