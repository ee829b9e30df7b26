"""Which experts stand at the two ends of a bridge, as plain values that a run can hold."""

from __future__ import annotations

from dataclasses import dataclass

from redraft.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is made: pixels, or latents of a frozen expert that decodes them.

    An autoencoder says where pictures lie in its latent. A generator does not, so a run learns from what it
    draws, as in Net2Net (arXiv:2005.13580), where each step draws anew: none of its pictures is real.
    """

    latent: str = ""  # the expert's name, such as image:taef2 or generator:RUN; "": pixels
    draws: int = 0  # of a generator, made once and kept; 10,000 where nobody says (app/drawn.py)
    components: int | None = None  # principal ones of the latent, that are made in its place; 0: all numbers
    shape: tuple[int, ...] = ()  # of a latent; found with the expert
    fingerprint: str = ""  # of the expert's weights; found with it

    def __post_init__(self) -> None:
        if self.components is not None and (self.components < 0 or self.components == 1):
            raise UsageError(f"target.components is 2 or more, or 0 (none), not {self.components}.")

    @property
    def made(self) -> tuple[int, ...]:
        """The shape of what networks make: the latent's, or its principal components'."""
        return (self.components, 1, 1) if self.components and self.shape else self.shape


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is given: the condition itself, or what a frozen expert makes of it."""

    expert: str = ""  # its name, such as text:minilm; "": none
    shape: tuple[int, ...] = ()  # of a representation; found with the expert
    fingerprint: str = ""  # of the expert's weights; found with it


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Both ends, for recipes: what is best depends on the spaces that networks work between."""

    condition: Condition = Condition()
    target: Target = Target()


NO_EXPERTS = Ends()
