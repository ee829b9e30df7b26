"""What a model made, and how parts of it become a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from redraft.app.story import distinct, stem
from redraft.core import images
from redraft.core.errors import UsageError
from redraft.methods.method import Sample

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True)
class Made:
    """What a model made: row i of every field belongs to picture i.

    ``percentiles`` [N]: share of held-out real pictures, in per cent, that the solver finds worse.
    ``novelty`` [N]: per cent of held-out conditions that are nearer to those trained on; None where the
    condition is no picture. Beyond 99 it is unlike anything seen.
    """

    images: Tensor  # [N, C, H, W] in [-1, 1]
    drafts: Tensor
    energies: Tensor  # [N]
    draft_energies: Tensor
    percentiles: Tensor
    novelty: Tensor | None
    variants: list[int]  # which variant of its condition
    trace: list[Tensor] = field(default_factory=list)  # K + 1 pictures [N, C, H, W]
    trace_energies: Tensor | None = None  # [K, N]
    chunks: list[list[int]] = field(default_factory=list)  # variants that were made together with it
    places: list[int] = field(default_factory=list)  # its place among them
    stories: list[dict[str, str]] = field(default_factory=list)  # how each was made, as its PNG says

    def __repr__(self) -> str:
        n, c, h, w = self.images.shape
        return f"Made({n} pictures of {w} x {h} px, {c} channels)"

    @property
    def pictures(self) -> list[PIL.Image.Image]:
        """The pictures for Pillow: "RGB", or "L" where they are grey."""
        from PIL import Image

        return [
            Image.fromarray(a[..., 0] if a.shape[-1] == 1 else a) for a in map(images.to_array, self.images)
        ]

    def save(self, folder: str | Path, bits: int = 8) -> list[Path]:
        """Write PNGs that say how they were made into ``folder``; refuses to write over a file."""
        wanted = [
            f"{stem(told.get('condition'))}-{v}" for told, v in zip(self.stories, self.variants, strict=True)
        ]
        paths = [Path(folder) / f"{name}.png" for name in distinct(wanted)]
        for path in paths:
            if path.exists():
                raise UsageError(f"{path} exists already; save into another folder.")
        for path, picture, told in zip(paths, self.images, self.stories, strict=True):
            images.write(picture, path, {f"redraft:{k}": v for k, v in told.items()}, bits=bits)
        return paths


def join(parts: list[Sample]) -> Sample:
    traces: Iterator[tuple[Tensor, ...]] = zip(*(p.trace for p in parts), strict=True)
    return Sample(
        drafts=torch.cat([p.drafts.cpu() for p in parts]),
        images=torch.cat([p.images.cpu() for p in parts]),
        draft_energies=torch.cat([p.draft_energies.cpu() for p in parts]),
        energies=torch.cat([p.energies.cpu() for p in parts]),
        trace=[torch.cat([t.cpu() for t in step]) for step in traces],
        trace_energies=torch.cat([p.trace_energies.cpu() for p in parts], 1),
    )


def together(parts: list[Made]) -> Made:
    """The pictures of several conditions as one."""
    if len(parts) == 1:
        return parts[0]
    values: dict[str, Any] = {}
    for field_ in fields(Made):
        each = [getattr(part, field_.name) for part in parts]
        if field_.name == "trace":
            values["trace"] = [torch.cat(step) for step in zip(*each, strict=True)]
        elif isinstance(each[0], Tensor):
            values[field_.name] = torch.cat(each, 1 if field_.name == "trace_energies" else 0)
        else:
            values[field_.name] = None if each[0] is None else [item for part in each for item in part]
    return Made(**values)


def best(made: Made, most: int) -> Made:
    """The ``most`` pictures of one condition with the lowest energies, the lowest first."""
    rows = made.energies.argsort()[:most]
    return Made(
        images=made.images[rows],
        drafts=made.drafts[rows],
        energies=made.energies[rows],
        draft_energies=made.draft_energies[rows],
        percentiles=made.percentiles[rows],
        novelty=None if made.novelty is None else made.novelty[rows],
        variants=[made.variants[i] for i in rows.tolist()],
        trace=[t[rows] for t in made.trace],
        trace_energies=None if made.trace_energies is None else made.trace_energies[:, rows],
        chunks=[made.chunks[i] for i in rows.tolist()],
        places=[made.places[i] for i in rows.tolist()],
    )
