"""What a method is: two verbs over networks that it is given. There is nothing to inherit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.nets.parts import Energy, Initializer

Keep = Callable[[Tensor, Any], Tensor]  # (x, c) -> x with what c fixes put back


class Update(Protocol):
    """What the trainer lends a step."""

    done: float  # the share of the training that lies behind, in [0, 1)

    def __call__(self, net: nn.Module, loss: Tensor) -> None:
        """Descend this loss in this network, and in no other."""
        ...

    def together(self, nets: Sequence[nn.Module], loss: Tensor) -> None:
        """Descend one loss in several networks."""
        ...

    def take_average(self, net: nn.Module) -> None:
        """Let the network go on from its moving average, where it has one."""
        ...

    def restart(self, net: nn.Module) -> None:
        """Forget what the network's optimizer remembers of earlier gradients."""
        ...


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
    ``energy_data``, ``energy_draft``, ``energy_refined`` (means), ``move``, ``drift`` and ``told_apart``.
    """

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that ``step`` updates, by the names that settings use for them."""
        ...

    @property
    def stage(self) -> str:
        """What the training is at, where it has stages; else "". A new one is told and drawn.

        The trainer saves it, and puts it back where it goes on with a checkpoint.
        """
        ...

    @property
    def refine_steps(self) -> int:
        """K when ``generate`` is asked for no number of steps."""
        ...

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]: ...

    def generate(
        self, c: Any, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        """n pictures for the n conditions ``c``; ``refine`` is K (None: ``refine_steps``, 0: drafts)."""
        ...

    def energy(self, x: Tensor, c: Any) -> Tensor:
        """E(x, c) [N], lower = more like the data; what the score is made of."""
        ...


class Adversarial(Method, Protocol):
    """A method with a discriminator, as CoopInit initialises it."""

    cfg: Any  # contest.Contest

    @property
    def discriminator(self) -> Energy: ...

    @property
    def generator(self) -> Initializer: ...

    @property
    def keep(self) -> Keep: ...

    def propose(self, batch: Pair, rng: Noise) -> tuple[Tensor, Tensor]:
        """What the generator makes of the batch, and its own loss beside the contest."""
        ...

    def draws(self, n: int, rng: Noise) -> tuple[Tensor, Tensor] | None:
        """What augments n real and n made pictures; None: nothing does."""
        ...


def keep_nothing(x: Tensor, c: Tensor | None) -> Tensor:
    """The ``keep`` of a task whose condition fixes no pixel."""
    return x
