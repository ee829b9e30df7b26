"""A diffusion model as a slow solver: it begins at another model's drafts, not at noise (``--drafts``)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor

from redraft.app.bridges import Viewed
from redraft.core.errors import UsageError
from redraft.core.rng import Noise
from redraft.methods.denoising import Denoising
from redraft.methods.diffusion import Diffusion
from redraft.methods.method import Sample
from redraft.methods.piti import Piti
from redraft.recipes.run import Run

LEVEL = 0.5  # of noise that drafts get when nobody asks; share of the schedule, in (0, 1]
# of a task: how files are read and drawings drawn again in training; what networks are given is alike
OWN = ("hand", "holes")
WORDS = {
    "channels": "number of channels",
    "classes": "number of classes",
    "condition_channels": "number of channels in what is given",
    "half": "side of its pictures",
    "made": "kind of drawings",
    "names": "list of categories",
}


@dataclass(frozen=True, kw_only=True)
class Drafted:
    """A method as people see it, its drafts another's: takes the place of its ``Viewed`` in a model."""

    own: Viewed  # of method piti or diffusion
    by: Viewed  # who drafts, from the same raw conditions
    level: float
    story: dict[str, str]  # of whom the drafts are, as a PNG says

    @property
    def refine_steps(self) -> int:
        """As many as an own draft would take: few, since much is there already."""
        return self._method.cfg.draft_steps

    @property
    def says(self) -> str:
        """Whose drafts, and what becomes of them."""
        hash_, method = self.story["drafts_hash"][:12], self.story["drafts_method"]
        return f"of {method} ({hash_}), noised to {self.level:g} of the schedule and revised from there"

    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        """Pictures for raw conditions, as the drafter makes them by default, and revised in K steps.

        Energies are by the model that revises. There is no trace.
        """
        k = self.refine_steps if refine is None else refine
        drafts = self.draft(c, n, rng)
        images = self.revise(drafts, c, rng, self.level, k) if k else drafts
        first = self.energy(drafts, c)
        last = self.energy(images, c) if k else first
        return Sample(drafts, images, first, last, [], first.new_zeros(0, n))

    def draft(self, c: Tensor | None, n: int, rng: Noise) -> Tensor:
        """The other model's pictures [N, C, S, S]; first to draw from ``rng``, it makes its own."""
        return self.by.generate(c, n, rng).images.clamp(-1, 1)

    @torch.no_grad()
    def revise(self, drafts: Tensor, c: Tensor | None, rng: Noise, level: float, steps: int) -> Tensor:
        """Pictures [N, C, S, S] noised to ``level``, denoised in ``steps``; at 1 nothing is left."""
        bridge, given = self.own.bridge, cast(Any, self.own.bridge.given(c))
        at = bridge.spec
        if level == 1:  # no need to look at them
            start = drafts.new_zeros(len(drafts), at.channels, at.size, at.size)
        else:
            start = bridge.wanted(drafts)
        made = self._method.revise(start, given, rng, level, steps)
        return made if bridge.open else self.own.view(made, c)

    @torch.no_grad()
    def energy(self, x: Tensor, c: Tensor | None) -> Tensor:
        """E [N] of pictures under raw conditions, by the model that revises."""
        return self.own.energy(x, c)

    @property
    def _method(self) -> Piti | Diffusion:
        assert isinstance(self.own.method, (Piti, Diffusion))
        return self.own.method


def refuse_level(drafts: str | None, level: float | None) -> None:
    """Refuse a level that is none, or of nothing."""
    if level is not None and drafts is None:
        raise UsageError("--level is of another model's drafts: name it with --drafts RUN, or leave it out.")
    if level is not None and not 0 < level <= 1:
        raise UsageError(
            f"--level is the share of noise that drafts get, above 0 (all is kept) and at most 1 (nothing "
            f"is), not {level:g}."
        )


def refuse_no_denoiser(run: Run) -> None:
    """Refuse a model that cannot revise what others draft."""
    if not isinstance(run.method, Denoising):
        raise UsageError(
            "--drafts is for models that take noise away, of method piti or diffusion; this one is of "
            f"method {run.label} and drafts itself: leave --drafts out."
        )


def refuse_drafter(mine: Run, its: Run, place: str) -> None:
    """Refuse drafts of what a model does not make."""
    if its.task_name != mine.task_name:
        raise UsageError(
            f"{place} does task {its.task_name} and this model {mine.task_name}: drafts come from one of "
            "the same task."
        )
    size = mine.task.spec.size
    if its.task.spec.size != size:
        raise UsageError(
            f"{place} makes pictures of {its.task.spec.size} px, and drafts of {size} px are wanted: train "
            f"it with --size {size}."
        )
    if (key := _other(mine.task, its.task)) is not None:
        raise UsageError(
            f"{place} was trained with another {WORDS.get(key, key)} than this model: drafts are of a model "
            "that was trained on the same kind of pictures."
        )


def _other(mine: Any, its: Any) -> str | None:
    """The first setting in which two of a task differ, so that a condition does not mean the same to both."""
    for name in (f.name for f in fields(mine) if f.name not in OWN):
        a, b = getattr(mine, name), getattr(its, name)
        if a != b and not (name == "half" and "" in (a, b)):  # sides of one picture, or in folders
            return name
    return None
