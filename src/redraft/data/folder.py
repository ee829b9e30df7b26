"""What a folder of pictures was understood to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from redraft.core.images import RGB
from redraft.data.source import Source

ConditionKind = Literal["none", "picture", "labels"]
SPLITS = ("train", "test")


@dataclass(frozen=True, slots=True)
class Example:
    """One picture to learn, with what is known of it."""

    name: str
    target: Source
    condition: Source | None = None
    category: int | None = None
    caption: str | None = None


@dataclass(frozen=True)
class Folder:
    """Examples by split, and what holds for all of them. ``understood`` is the sentence to print."""

    root: Path
    layout: str
    understood: str
    examples: dict[str, tuple[Example, ...]]
    categories: tuple[str, ...] = ()
    condition_kind: ConditionKind = "none"
    palette: tuple[RGB, ...] | None = None  # colours of the labels; None: plain indices
    classes: int = 0  # number of label values
    channels: int = 3  # of the targets: 1 when grey throughout
    condition_channels: int = 3  # of picture conditions: 1 when grey throughout
    bits: int = 8  # of the targets, 8 or 16
    made_split: bool = False  # the test split was made here, not found
    given: dict[str, tuple[Example, ...]] = field(default_factory=dict)  # two sides without pairs: the other
    unmatched: tuple[str, ...] = ()  # pictures that found no partner and are left out
    notes: tuple[str, ...] = field(default=())  # what else ``check`` should say

    @property
    def unpaired(self) -> bool:
        """Two sides without pairs: ``examples`` are the wanted pictures, ``given`` the given ones."""
        return bool(self.given)

    def every(self, split: str) -> tuple[Example, ...]:
        """The examples of a split, those of an unpaired given side behind them."""
        return self.examples.get(split, ()) + self.given.get(split, ())

    @property
    def given_half(self) -> str:
        """ "left" or "right" where pictures lie side by side, else ""."""
        given = next((e.condition for e in self.examples["train"] if e.condition), None)
        return given.half if given else ""

    @property
    def has_captions(self) -> bool:
        return any(e.caption for e in self.examples["train"])
