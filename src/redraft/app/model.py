"""A trained model: guess now, refine on demand, with a score for every picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redraft.core.errors import BundleError, UsageError
from redraft.core.rng import PictureNoise
from redraft.evaluation.calibration import Calibration
from redraft.hub import bundle
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopnets import CoopNets
from redraft.methods.method import Sample
from redraft.recipes.run import Run, build

CHUNK = 16  # pictures made together; recorded with each picture, so that a replay is exact


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
    batch: list[int] = field(default_factory=list)  # how many were made together with it


class Model:
    """A method with its task, ready to make pictures."""

    def __init__(
        self,
        run: Run,
        method: CoopNets | CCoopNets,
        calibration: Calibration,
        *,
        hash: str = "",
        about: dict[str, Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.run, self.method, self.calibration = run, method.to(device).eval(), calibration
        self.hash, self.about, self.device = hash, about or {}, torch.device(device)

    @property
    def task(self) -> Any:
        return self.run.task

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "auto") -> Model:
        """Open a bundle (or a run folder that holds one). BundleError says what is wrong with it."""
        from redraft.training import pick_device

        place = Path(folder)
        if (place / "model").is_dir():
            place = place / "model"
        stored = bundle.load(place)
        try:
            run = Run.from_dict(stored.config["run"])
        except (KeyError, TypeError, UsageError) as wrong:
            raise BundleError(f"The settings in {place}/config.json cannot be used: {wrong}") from None
        method = build(run)
        empty = Calibration.of(torch.zeros(0), None, None)
        wanted = {k: v.shape for k, v in method.state_dict(prefix="method.").items()}
        # how many real pairs a calibration remembers is its own business
        wanted |= {k: stored.tensors.get(k, v).shape for k, v in _dotted(empty).items()}
        bundle.match(stored.tensors, wanted)
        method.load_state_dict(bundle.part(stored.tensors, "method"))
        calibration = Calibration.read(bundle.part(stored.tensors, "calibration"))
        about = stored.config.get("about", {})
        return cls(run, method, calibration, hash=stored.hash, about=about, device=pick_device(device))

    def save_pretrained(self, folder: str | Path, card: str = "", *, replace: bool = False) -> None:
        """Write a bundle into ``folder``; one that is there already is kept unless ``replace``."""
        tensors = self.method.state_dict(prefix="method.") | _dotted(self.calibration)
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        config = {"run": self.run.to_dict(), "about": self.about}
        self.hash = bundle.save(folder, config, tensors, card, replace=replace)

    def __call__(
        self,
        condition: str | Sequence[str] | Tensor | None = None,
        *,
        variants: int = 1,
        refine: int | None = None,
        seed: int = 0,
        best_of: int | None = None,
        trace: bool = False,
    ) -> Made:
        """Pictures for one or several conditions, ``variants`` of each, in that order.

        ``condition``: words or picture files (as the task reads them), or an encoded tensor [N, ...].
        ``refine``: Langevin steps K; None as in training, 0 the drafts. ``best_of``: make so many of
        each and return the ``variants`` with the lowest energies.
        """
        tried = best_of or variants
        if variants < 1 or tried < variants:
            raise UsageError(f"--best-of {tried} must be at least --variants {variants}, itself at least 1.")
        if refine is not None and refine < 0:
            raise UsageError(f"--refine takes a number of steps, 0 or more, not {refine}.")
        c = self.read(condition, seed)
        count = 1 if c is None else len(c)
        order = [(i, v) for i in range(count) for v in range(tried)]
        rows = None if c is None else c[[i for i, _ in order]]
        made = self.make(rows, [v for _, v in order], refine=refine, seed=seed, trace=trace)
        return made if best_of is None else _best(made, count, tried, variants)

    def read(self, condition: str | Sequence[str] | Tensor | None, seed: int) -> Tensor | None:
        """Conditions as users give them -> the tensor that networks take, or None."""
        if condition is None or isinstance(condition, Tensor):
            c = condition
        else:
            words = [condition] if isinstance(condition, str) else list(condition)
            one = [self.task.read(str(word), PictureNoise(seed, [0])) for word in words]
            c = torch.cat(one)
        kind = self.task.spec.condition
        if c is None and kind != "none":
            raise UsageError(f"This model needs {_A[kind]} to start from; name one after the model.")
        if c is not None and kind == "none":
            raise UsageError("This model makes pictures from nothing; leave the condition out.")
        return c

    def make(
        self,
        c: Tensor | None,
        variants: list[int],
        *,
        refine: int | None = None,
        seed: int = 0,
        trace: bool = False,
        chunk: int = CHUNK,
    ) -> Made:
        """One picture for each row of c; picture i has the noise of variant ``variants[i]``."""
        parts, sizes = [], []
        for start in range(0, len(variants), chunk):
            some = variants[start : start + chunk]
            rows = None if c is None else c[start : start + chunk].to(self.device)
            noise = PictureNoise(seed, some, self.device)
            parts.append(self.method.generate(rows, len(some), noise, refine=refine, trace=trace))
            sizes += [len(some)] * len(some)
        whole = _join(parts)
        novelty = self.calibration.novelty(c)
        return Made(
            images=whole.images.clamp(-1, 1),
            drafts=whole.drafts.clamp(-1, 1),
            energies=whole.energies,
            draft_energies=whole.draft_energies,
            percentiles=100 * self.calibration.better_than(whole.energies),
            novelty=None if novelty is None else 100 * novelty,
            variants=variants,
            trace=whole.trace,
            trace_energies=whole.trace_energies,
            batch=sizes,
        )


def _dotted(calibration: Calibration) -> dict[str, Tensor]:
    return {f"calibration.{k}": v for k, v in calibration.tensors().items()}


_A = {"category": "a category", "picture": "a picture"}


def _join(parts: list[Sample]) -> Sample:
    traces: Iterator[tuple[Tensor, ...]] = zip(*(p.trace for p in parts), strict=True)
    return Sample(
        drafts=torch.cat([p.drafts.cpu() for p in parts]),
        images=torch.cat([p.images.cpu() for p in parts]),
        draft_energies=torch.cat([p.draft_energies.cpu() for p in parts]),
        energies=torch.cat([p.energies.cpu() for p in parts]),
        trace=[torch.cat([t.cpu() for t in step]) for step in traces],
        trace_energies=torch.cat([p.trace_energies.cpu() for p in parts], 1),
    )


def _best(made: Made, count: int, tried: int, variants: int) -> Made:
    ranks = made.energies.view(count, tried).argsort(1)[:, :variants]
    rows = (ranks + torch.arange(count)[:, None] * tried).flatten()
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
        batch=[made.batch[i] for i in rows.tolist()],
    )
