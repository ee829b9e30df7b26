"""What a comparison compares: entries from ``--methods`` and ``--set``, or from finished runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from redraft.app.begin import pictures_key
from redraft.app.examples import store
from redraft.app.prior import Given
from redraft.app.refuse import refuse_file, refuse_settings
from redraft.app.story import distinct
from redraft.app.train import plan, settle
from redraft.core.config import to_dict
from redraft.core.errors import RedraftError, UsageError, unknown
from redraft.data import Folder, Report
from redraft.hub import bundle
from redraft.methods import METHODS
from redraft.recipes.run import Run
from redraft.training.checkpoint import saved
from redraft.training.folder import difference, settings_of

LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]*")
SECTIONS = tuple(f.name for f in fields(Run) if f.name not in ("recipe", "seed"))
RESULT = "compare.json"
FAILED = "failed.txt"  # in a run's folder: why it came to no end
LOCK = ".lock"  # held while a comparison is at work


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the comparison: what it is called, its method, its own settings."""

    label: str
    method: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One training: a run and where it lies, or why there can be none."""

    entry: Entry
    seed: int
    place: Path
    run: Run | None
    begins: Given | None = None  # its prior
    why_not: str = ""


def entries(methods: str, settings: Iterable[str]) -> tuple[list[Entry], list[str]]:
    """The entries of ``--methods``, and the settings that are for all of them.

    ``--methods ccoopnets,pix2pix,noisy=pix2pix`` with ``--set noisy.networks.style=8``: ``LABEL=METHOD``
    names a variant, and ``--set LABEL.section.key=value`` is for it alone.
    """
    named = [_named(word.strip()) for word in methods.split(",")]
    labels = [label for label, _ in named]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"--methods names {label} twice; call one of them otherwise: OTHER={label}.")
    if len(named) < 2:
        raise UsageError(f"--methods {methods} is one method; a comparison takes two or more: ccoopnets,gan.")
    own, general = _whose(refuse_settings(settings), labels)
    made = [Entry(label=k, method=m, settings=tuple(own.get(k, ()))) for k, m in named]
    return made, general


def _named(word: str) -> tuple[str, str]:
    label, equals, method = word.partition("=")
    method = method if equals else label
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if not LABEL.fullmatch(label) or label in SECTIONS and label != method:
        raise UsageError(f"{label!r} cannot be the name of a variant; take letters, digits, + and -.")
    return label, method


def _whose(settings: Sequence[str], labels: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Settings by label, and those for all. ``coopinit.share=1`` is a section's even beside such a label."""
    own: dict[str, list[str]] = {}
    general = []
    for line in settings:
        first, _, rest = line.partition(".")
        section = rest.partition("=")[0].partition(".")
        if first in labels and section[1] and section[0] in SECTIONS:
            own.setdefault(first, []).append(rest)
        elif first in SECTIONS:
            general.append(line)
        else:
            raise unknown("method or section of settings", first, [*labels, *SECTIONS])
    return own, general


def trainings(
    report: Report,
    wanted: Sequence[Entry],
    common: Sequence[str],
    begins: Given | None = None,
    *,
    task: str,
    recipe: str,
    size: int | None,
    seeds: int,
    out: Path,
) -> list[Planned]:
    """All trainings, seed by seed. A method that does not fit is kept with the reason, unless none fits.

    ``begins`` is the prior of method piti, which decides the size where nobody does.
    """
    if size is None and begins is not None:
        size = begins.px or None
    made: list[Planned] = []
    problems: list[RedraftError] = []
    for seed in range(seeds):
        for entry in wanted:
            place = place_of(out, entry, seed)
            own = begins if entry.method == "piti" else None
            begun = place if has_begun(place) else None
            try:
                named = [*common, *entry.settings]
                run = plan(report, task, entry.method, recipe, size, seed, named, begun, own)
                run = settle(run, common)
            except UsageError as wrong:
                problems.append(wrong)
                made.append(Planned(entry=entry, seed=seed, place=place, run=None, why_not=str(wrong)))
                continue
            run = settle(run, entry.settings)
            made.append(Planned(entry=entry, seed=seed, place=place, run=run, begins=own))
    sizes = {p.run.task.spec.size for p in made if p.run is not None}
    if size is None and len(sizes) > 1:  # one method's experts cannot have the usual size
        more: dict[str, Any] = {"task": task, "recipe": recipe, "seeds": seeds, "out": out}
        return trainings(report, wanted, common, begins, size=max(sizes), **more)
    if all(p.run is None for p in made):
        raise problems[0]
    return made


def place_of(out: Path, entry: Entry, seed: int) -> Path:
    """Where a training of a comparison lies."""
    return out / "runs" / f"{entry.label}-{seed}"


def has_begun(place: Path) -> bool:
    """Whether a training has learnt something or has ended: what it begins with is no more needed."""
    return bool(saved(place / "checkpoints")) or (place / "model").is_dir() or (place / FAILED).exists()


def finished(places: Sequence[str]) -> tuple[list[Planned], str]:
    """Finished runs by seed, and their task; those that differ in nothing but their seed are one method's."""
    made: list[tuple[Run, str, Path]] = []
    for place in dict.fromkeys(Path(p).resolve() for p in places):
        inside = place / "model" if (place / "model").is_dir() else place
        run = Run.from_dict(bundle.load(inside).config["run"])
        made.append((run, place.name.removesuffix(f"-{run.seed}"), place))
    if len(made) < 2:
        raise UsageError("One run is no comparison; name two or more, or one DATA and --methods.")
    _refuse_other_tasks(made)
    groups: list[Run] = []
    for run, _, _ in made:
        if replace(run, seed=0) not in groups:
            groups.append(replace(run, seed=0))
    names = _labels(groups, made)
    planned = []
    for run, _, place in made:
        entry = Entry(label=names[groups.index(replace(run, seed=0))], method=run.label)
        planned.append(Planned(entry=entry, seed=run.seed, place=place, run=run))
    for p in planned:
        if any(q.entry == p.entry and q.seed == p.seed and q is not p for q in planned):
            raise UsageError(f"Two of the runs are {p.entry.label} with seed {p.seed}; leave one out.")
    return sorted(planned, key=lambda p: p.seed), made[0][0].task_name


def _labels(groups: Sequence[Run], made: Sequence[tuple[Run, str, Path]]) -> list[str]:
    """The method's name, or that of the first run's folder where a method comes twice."""
    methods = [run.label for run in groups]
    folders = [next(name for run, name, _ in made if replace(run, seed=0) == group) for group in groups]
    return distinct(m if methods.count(m) == 1 else f for m, f in zip(methods, folders, strict=True))


def _refuse_other_tasks(made: Sequence[tuple[Run, str, Path]]) -> None:
    first, _, at = made[0]
    for run, _, place in made[1:]:
        for what, a, b in (
            ("task", first.task_name, run.task_name),
            ("size", first.task.spec.size, run.task.spec.size),
            ("settings of the task", to_dict(first.task), to_dict(run.task)),
            ("reading.stretch", first.reading.stretch, run.reading.stretch),
        ):
            if a != b:
                shown = f" ({a} and {b})" if not isinstance(a, dict) else ""
                raise UsageError(
                    f"{at.name} and {place.name} cannot be compared: their {what} differ{shown}; "
                    "compare runs of one task at one size."
                )


def refuse_other(out: Path, planned: Sequence[Planned], folder: Folder) -> None:
    """A comparison goes into a new or empty folder, or goes on with what is the same comparison."""
    refuse_file(out, "a comparison")
    ours = {RESULT, "runs", "measured", "index.html", LOCK}
    if out.is_dir() and any(out.iterdir()) and not ours & {p.name for p in out.iterdir()}:
        raise UsageError(f"{out} holds other files than a comparison of ours; give another --out.")
    for p in planned:
        begun = settings_of(p.place)
        if p.run is None or begun is None:
            continue
        if change := difference(begun, p.run.to_dict()):
            key, before, now = change
            raise UsageError(
                f"{p.place} was begun with {key} = {before!r}, not {now!r}: set it back to go on with this "
                "comparison, or give another --out."
            )
        if begun.get("data") != pictures_key(store(folder, "train", p.run, margin=True)):
            raise UsageError(f"The pictures have changed since {p.place} was begun: give another --out.")
