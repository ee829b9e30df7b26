"""What an expert is: a frozen network, trained elsewhere, whose representation others work on."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from redraft.core.errors import BundleError, UsageError

Kind = Literal["text", "image", "autoencoder", "generator"]
Shape = tuple[int, ...]


class Expert(nn.Module):
    """A pretrained network that is never trained: always in eval mode, without gradients.

    ``expert(given)`` represents: a list of sentences, or pictures [N, 3, S, S] in [-1, 1] -> [N, *shape(S)].
    ``expert.decode(z)`` goes back (autoencoder, generator): [N, *shape] -> pictures [N, 3, S, S] in [-1, 1].
    ``expert.draw(n, rng)`` (generator): representations as they occur naturally. ``names`` are of its
    categories, where it makes pictures of such, and ``expert.category(z)`` says which one z is.

    A new one gives ``super().__init__`` its network and says ``shape``, ``represent`` and/or ``picture``
    (docs/experts.md). A representation that is not finite, or of another shape than said, is refused.
    """

    batch = 16  # examples a pass: more are no faster on a CPU, and at 512 px take gigabytes
    names: tuple[str, ...] = ()

    def __init__(
        self, net: nn.Module, *, name: str, kind: Kind, meaning: str, licence: str = "not stated"
    ) -> None:
        """``meaning``: one phrase, what a representation means; ``licence``: of the weights."""
        super().__init__()
        self.name, self.kind, self.meaning, self.licence = name, kind, meaning, licence
        self.net = net
        self.requires_grad_(False)
        self.eval()

    @abstractmethod
    def shape(self, size: int) -> Shape:
        """Of one representation of a picture of ``size`` px: (D,) or (C, h, w). Text ignores the size."""

    def represent(self, given: Any) -> Tensor:
        """At most ``batch`` sentences or pictures -> [n, *shape]; called without gradients."""
        raise UsageError(
            f"{self.name} makes pictures of numbers and cannot represent pictures given to it; an "
            "autoencoder can."
        )

    def picture(self, z: Tensor) -> Tensor:
        """[n, *shape], at most ``batch`` -> pictures [n, 3, S, S] in [-1, 1]; called without gradients."""
        raise UsageError(
            f"{self.name} describes and cannot go back to pictures; a target is an autoencoder or a "
            "generator, such as image:taef2."
        )

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """n natural representations [n, *shape]; generators alone have a law of their own."""
        raise UsageError(f"{self.name} has no law to draw from; a generator says one (its method draw).")

    def category(self, z: Tensor) -> Tensor:
        """int64 [n]: which of ``names`` representations [n, *shape] are."""
        raise UsageError(f"{self.name} knows no categories.")

    def foreign(self, sentences: Sequence[str]) -> float:
        """Share of the sentences' words, 0 to 1, that the expert does not know; 0 where it cannot tell."""
        return 0.0

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides the outputs: settings in ``decides`` and the network's tensors."""
        return fingerprint(self.net, self.decides())

    def decides(self) -> str:
        """Settings beside the weights that change the outputs, as text; the name is among them."""
        return f"{type(self).__name__} {self.name}"

    @torch.no_grad()
    def forward(self, given: Any) -> Tensor:
        """A list of sentences, or pictures [N, 1 or 3, S, S] in [-1, 1] -> [N, *shape] float32."""
        if isinstance(given, Tensor):
            given = given.expand(-1, 3, -1, -1).float()
        size = given.shape[-1] if isinstance(given, Tensor) else 0
        shape = self.shape(size)
        rows = [self.represent(part) for part in _parts(given, self.batch)]
        return _checked(torch.cat(rows) if rows else torch.zeros(0, *shape), (len(given), *shape), self.name)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Representations [N, *shape] -> pictures [N, 3, S, S] in [-1, 1]."""
        pictures = torch.cat([self.picture(part) for part in z.float().split(self.batch)])
        return pictures.expand(-1, 3, -1, -1).clamp(-1, 1)

    def train(self, mode: bool = True) -> Expert:
        """Stays in eval mode, whatever is asked."""
        return super().train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Expert:
        """Stays without gradients, whatever is asked."""
        return super().requires_grad_(False)


def fingerprint(net: nn.Module, decides: str = "") -> str:
    """SHA-256 over ``decides`` and every tensor of the network: name, type, shape, bytes."""
    digest = hashlib.sha256(decides.encode())
    for name, tensor in sorted(net.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def multiple_of(factor: int, size: int, name: str) -> int:
    """size / factor; UsageError where that is no whole number."""
    if size < factor or size % factor:
        near = max(factor, round(size / factor) * factor)
        raise UsageError(f"{name} takes pictures whose side is a multiple of {factor} px: --size {near}.")
    return size // factor


def shape_of(f: Callable[[Tensor], Tensor], size: int) -> Shape:
    """The shape of what ``f`` makes of one grey picture of this size."""
    with torch.no_grad():
        return tuple(f(torch.zeros(1, 3, size, size)).shape[1:])


def _parts(given: Any, batch: int) -> list[Any]:
    if isinstance(given, Tensor):
        return list(given.split(batch)) if len(given) else []
    return [given[i : i + batch] for i in range(0, len(given), batch)]


def _checked(made: Tensor, shape: Shape, name: str) -> Tensor:
    if tuple(made.shape) != shape:
        raise BundleError(f"{name} made representations {list(made.shape)} and had promised {list(shape)}.")
    if not torch.isfinite(made).all():
        raise BundleError(
            f"{name} made numbers that are not finite; its weights or these examples are broken."
        )
    return made.float()
