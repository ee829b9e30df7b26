"""The prior that trainings of method piti begin with in a comparison, beside the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from redraft.app import prior as priors
from redraft.app.compare_plan import Entry, has_begun, place_of
from redraft.core.errors import UsageError
from redraft.evaluation.words import Finding
from redraft.recipes import Run
from redraft.recipes.prior import Loaded
from redraft.training.folder import settings_of


def prior_for(name: str | None, wanted: Sequence[Entry], out: Path, seeds: int) -> priors.Given | None:
    """What ``--prior`` names, read once; None where no entry is of method piti.

    Where all trainings with it have begun it is needed no more, and may be gone.
    """
    own = [entry for entry in wanted if entry.method == "piti"]
    if not own:
        if name is not None:
            raise UsageError("--prior is for method piti: name that in --methods, or leave --prior out.")
        return None
    places = [place_of(out, entry, seed) for entry in own for seed in range(seeds)]
    if name and not Path(name).exists() and all(_begun_with(place) == name for place in places):
        run = _run(places[0])
        assert run is not None
        prior = replace(run.prior, fresh=False)  # which is a setting of each entry
        return priors.Given(loaded=Loaded(prior=prior, state={}), px=run.task.spec.size)
    return priors.given(name, "piti", None, False)


def _begun_with(place: Path) -> str | None:
    run = _run(place) if has_begun(place) else None
    return None if run is None else run.prior.name


def _run(place: Path) -> Run | None:
    values = settings_of(place)
    return None if values is None else Run.from_dict({k: v for k, v in values.items() if k != "data"})


def lent(priors: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """For the report: what methods, by label, had learnt before, which their budgets leave out."""
    groups: dict[str, list[str]] = {}
    for label, prior in priors.items():
        if not prior["fresh"]:
            groups.setdefault(begun_before(prior), []).append(label)
    told = []
    for prior_is, labels in groups.items():
        who = " and ".join(labels) + (" begins" if len(labels) == 1 else " begin")
        told.append(Finding(f"{who} with a prior, whose own training is no part of the budget.", prior_is))
    fresh = {label: begun_before(prior) for label, prior in priors.items() if prior["fresh"]}
    return told + [
        Finding(f"{k} begins with {v}: no other training is behind it.", "") for k, v in fresh.items()
    ]


def begun_before(prior: Mapping[str, Any]) -> str:
    """What a run began with, as far as it is known: name, weights, how long it was trained."""
    if prior["fresh"]:
        return f"the network of {prior['name']} and fresh weights"
    size = f"{prior['weights']:,} weights, " if "weights" in prior else ""
    if "seconds" not in prior:
        return f"{prior['name']} ({size}how long it was trained is not known here)"
    seconds = prior["seconds"]
    long = f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:g} seconds"
    pictures = f" on {prior['pictures']:,} pictures" if "pictures" in prior else ""
    return f"{prior['name']} ({size}trained here for {long}{pictures})"
