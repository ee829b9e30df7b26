"""One run of a comparison, measured once: scores, the curve of refinement, pictures to show."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from redraft.app.compare_plan import Planned
from redraft.app.evaluate import drawer
from redraft.app.examples import spread_out
from redraft.app.model import Model
from redraft.core import images
from redraft.core.types import Pair
from redraft.evaluation.curve import Point, refinement
from redraft.evaluation.evaluate import Asked
from redraft.evaluation.evaluate import evaluate as measure
from redraft.evaluation.memory import low, memory
from redraft.evaluation.table import Interval, Scores
from redraft.hub import bundle

PROTOCOL = 3  # to be raised when what is measured changes
SHOWN = 8  # held-out conditions whose pictures are shown
VARIED, VARIANTS = 3, 5  # of so many of them, so many variants
LONGEST = 4  # the curve goes to so many times the steps of training, and to 20 at least
CURVE = (0, 1, 2, 5, 10, 20, 50, 100)  # numbers of steps
TRACED = 200  # held-out pairs that a curve is measured on
PLAIN = ("Goes on at step", "The time is over", "The run had stopped before")  # events that are no trouble


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is known of one training; plain values beside the pictures."""

    label: str
    method: str
    seed: int
    failed: str = ""  # why, where there are no scores
    run: str = ""  # the run's folder
    hash: str = ""  # the model's
    steps: int = 0
    seconds: float = 0.0
    megabytes: float | None = None  # at the peak of training
    learnt_from: int = 0  # training pictures
    prior: Mapping[str, Any] = field(default_factory=dict)  # that it began with; see ``_prior``
    parameters: int = 0
    default_steps: int = 0  # K when nothing else is asked
    refine_steps: int = 0  # K of the refined pictures
    events: tuple[str, ...] = ()  # what the watchdog said
    scores: Scores | None = None
    curve: tuple[Point, ...] = ()
    pictures: Mapping[str, Tensor] = field(default_factory=dict)  # [-1, 1]; not in ``to_dict``

    @property
    def row(self) -> str:
        """Which of its pictures the method makes by default."""
        return "refined" if self.default_steps else "draft"

    def to_dict(self) -> dict[str, Any]:
        values = {k: getattr(self, k) for k in self.__dataclass_fields__ if k != "pictures"}
        values["scores"] = None if self.scores is None else self.scores.to_dict()
        values["curve"] = [
            {
                "steps": p.steps,
                "milliseconds": p.milliseconds,
                "cells": {k: list(v) for k, v in p.cells.items()},
            }
            for p in self.curve
        ]
        return values | {"events": list(self.events)}

    @staticmethod
    def from_dict(values: Mapping[str, Any], pictures: Mapping[str, Tensor]) -> Measured:
        made = dict(values)
        made["scores"] = None if values["scores"] is None else Scores.from_dict(values["scores"])
        made["curve"] = tuple(
            Point(p["steps"], p["milliseconds"], {k: Interval(*v) for k, v in p["cells"].items()})
            for p in values["curve"]
        )
        return Measured(**made | {"events": tuple(values["events"]), "pictures": pictures})


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The same for all runs: real pairs, measures, device, seed of the noise."""

    known: Pair  # training pairs
    held_out: Pair
    asked: Asked
    device: str

    def key(self, model_hash: str) -> str:
        """Changes when anything does that decides the numbers of a model."""
        lpips = os.environ.get("REDRAFT_LPIPS", "")
        names = [(a.name, a.says) for a in self.asked.agreements]  # which say by what judge
        parts = (PROTOCOL, self._real, model_hash, self.asked.features.name, names, lpips)
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()

    @cached_property
    def _real(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for part in (*self.known, *self.held_out):
            if part is not None:
                digest.update(repr(tuple(part.shape)).encode())
                digest.update(part.contiguous().numpy().tobytes())
        return digest.hexdigest()


def measured(planned: Planned, protocol: Protocol, folder: Path) -> Measured:
    """The run's numbers: those of before where nothing has changed, else measured now and kept."""
    place = planned.place / "model" if (planned.place / "model").is_dir() else planned.place
    file = folder / f"{planned.entry.label}-{planned.seed}.json"
    key = protocol.key(bundle.load(place).hash)
    return _kept(file, key) or _measure(planned, protocol, file, key)


def failure(planned: Planned, why: str) -> Measured:
    return Measured(
        label=planned.entry.label,
        method=planned.entry.method,
        seed=planned.seed,
        failed=why,
        run=str(planned.place),
        events=events(planned.place),
    )


def events(place: Path) -> tuple[str, ...]:
    """What the watchdog said in a run; stages and new sittings are no trouble."""
    file = place / "events.log"
    if not file.exists():
        return ()
    lines = [line.split("  ", 2) for line in file.read_text(encoding="utf-8").splitlines()]
    said = [parts[2] for parts in lines if len(parts) == 3]
    return tuple(s for s in said if not s.startswith(PLAIN) and "stage begins" not in s)


def _kept(file: Path, key: str) -> Measured | None:
    tensors = file.with_suffix(".safetensors")
    if not (file.exists() and tensors.exists()):
        return None
    values = json.loads(file.read_text(encoding="utf-8"))
    if values.pop("key") != key:
        return None
    pictures = {k: v.float() / 127.5 - 1 for k, v in load(tensors.read_bytes()).items()}
    return Measured.from_dict(values, pictures)


def _measure(planned: Planned, protocol: Protocol, file: Path, key: str) -> Measured:
    model = Model.from_pretrained(planned.place, protocol.device)
    steps = model.run.solver_steps
    asked = replace(protocol.asked, refined=steps > 0)
    scores = measure(drawer(model, steps, 0), protocol.known, protocol.held_out, asked)
    made = Measured(
        label=planned.entry.label,
        method=planned.entry.method,
        seed=planned.seed,
        run=str(planned.place),
        hash=model.hash,
        steps=int(model.about.get("steps", 0)),
        seconds=float(model.about.get("seconds", 0.0)),
        megabytes=model.about.get("megabytes"),
        learnt_from=int(model.about.get("pictures", 0)),
        prior=_prior(model),
        parameters=sum(p.numel() for p in model.method.parameters()),
        default_steps=model.method.refine_steps,
        refine_steps=steps,
        events=events(planned.place),
        scores=scores,
        curve=_curve(model, protocol, steps, scores.truth),
        pictures=_pictures(model, protocol, steps),
    )
    content = {
        k: ((v.clamp(-1, 1) + 1) * 127.5).round().byte().contiguous() for k, v in made.pictures.items()
    }
    images.save(file.with_suffix(".safetensors"), save(content))
    images.save(file, json.dumps(made.to_dict() | {"key": key}, indent=1).encode())
    return made


def _prior(model: Model) -> dict[str, Any]:
    """Its name, whether its weights were left out, what ``begun.keep_told`` kept of it; {} without."""
    prior = model.run.prior
    if not prior.name:
        return {}
    return {"name": prior.name, "fresh": prior.fresh, **model.about.get("prior", {})}


def _curve(model: Model, protocol: Protocol, steps: int, truth: bool) -> tuple[Point, ...]:
    longest = max(LONGEST * steps, 20) if steps else 0
    wanted = sorted({*(k for k in CURVE if k <= longest), steps})
    c, x = protocol.held_out
    some = Pair(None if c is None else c[:TRACED], x[:TRACED])
    return tuple(refinement(partial(drawer, model, seed=0), some, protocol.asked, wanted, truth=truth))


def _pictures(model: Model, protocol: Protocol, steps: int) -> dict[str, Tensor]:
    """What the report shows: for the same conditions in every run, the same numbers of noise."""
    held_out = protocol.held_out
    rows = spread_out(held_out, min(SHOWN, len(held_out.target)))
    c = None if held_out.condition is None else held_out.condition[rows]
    n = len(rows)
    made = model.make(c, list(range(n)), refine=steps, seed=0)
    shown = {"draft": made.drafts, **({"refined": made.images} if steps else {})}
    best = made.images if model.method.refine_steps else made.drafts
    near = memory(low(best), low(protocol.known.target), low(held_out.target)).index
    shown["nearest"] = protocol.known.target[near]
    few = min(VARIED, n)
    for v in range(VARIANTS):
        again = model.make(
            None if c is None else c[:few],
            [n * v + i for i in range(few)],
            refine=model.method.refine_steps,
            seed=0,
        )
        shown[f"variant {v}"] = again.images
    return shown


def real_pictures(protocol: Protocol, show: Any, truth: bool) -> dict[str, Tensor]:
    """The conditions as pictures, and the real pictures, of the rows that are shown."""
    held_out = protocol.held_out
    rows = spread_out(held_out, min(SHOWN, len(held_out.target)))
    c = None if held_out.condition is None else held_out.condition[rows]
    given = show(c, len(rows))
    real = {"truth" if truth else "real": held_out.target[rows]}
    return real if given is None else {"condition": given, **real}
