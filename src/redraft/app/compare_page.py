"""From what was measured of all trainings to what the report of a comparison shows."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from redraft.app.compare_measure import Measured
from redraft.app.compare_prior import begun_before, lent
from redraft.evaluation.compare import Advice, Contender, Over, recommend, relied_on
from redraft.evaluation.comparison import Comparison, System
from redraft.evaluation.plots import Mark
from redraft.evaluation.table import Interval, Measure, Scores, short

ROWS = ("draft", "refined")


def comparison(
    title: str, facts: Mapping[str, str], runs: Sequence[Measured], real: Mapping[str, Tensor]
) -> Comparison:
    """The page of these runs, which are seeds of several methods; some may have failed."""
    groups = _by_label(runs)
    some = next((r.scores for r in runs if r.scores is not None), None)
    measures = () if some is None else _measures(runs)
    controls = {} if some is None else _controls(some)
    pictures = 0 if some is None else some.pictures
    return Comparison(
        title=title,
        facts=facts,
        advice=advise(groups, some),
        measures=measures,
        systems=[_system(label, group) for label, group in groups.items()],
        controls=controls,
        real=real,
        worth_of="" if some is None else some.worth_of,
        shown_seed=min(r.seed for r in runs),
        notes=[f"{pictures} held-out pairs.", *(some.notes if some else ())],
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    )


def advise(groups: Mapping[str, Sequence[Measured]], some: Scores | None) -> Advice:
    """The recommendation, each method by what it makes by default."""
    contenders = []
    for label, group in groups.items():
        done = [r for r in group if r.scores is not None]
        row = done[0].row if done else "refined"
        cells = _cells(done, row)
        failed = [r.failed for r in group if r.failed]
        contenders.append(
            Contender(
                name=label,
                cells=cells,
                each=_each(done, row),
                seeds=len(done),
                failed=len(failed),
                why=failed[0] if failed else "",
                row=row,
            )
        )
    measures = [] if some is None else some.measures
    advice = recommend(
        contenders, {} if some is None else _controls(some), measures, 0 if some is None else some.pictures
    )
    priors = lent({c.name: r.prior for c in contenders for r in groups[c.name] if r.prior})
    return replace(advice, reasons=(*advice.reasons, *priors))


def _by_label(runs: Sequence[Measured]) -> dict[str, list[Measured]]:
    groups: dict[str, list[Measured]] = {}
    for run in runs:
        groups.setdefault(run.label, []).append(run)
    return groups


def _measures(runs: Sequence[Measured]) -> tuple[Measure, ...]:
    """All measures that a run has; without memory where the process held enough already."""
    tables = [r.scores for r in runs if r.scores is not None]
    found = {m.name: m for t in tables for m in t.measures}
    if not any(t.rows[row]["MB"].value for t in tables for row in ROWS if "MB" in t.rows.get(row, {})):
        found.pop("MB", None)
    return tuple(found.values())


def _controls(scores: Scores) -> dict[str, dict[str, Interval]]:
    return {name: cells for name, cells in scores.rows.items() if name not in ROWS}


def _cells(done: Sequence[Measured], row: str) -> dict[str, Over]:
    """The measures that all finished seeds have, over the seeds."""
    tables = [r.scores.rows[row] for r in done if r.scores is not None and row in r.scores.rows]
    names = [n for n in (tables[0] if tables else {}) if all(n in t for t in tables)]
    return {n: Over.of([t[n] for t in tables]) for n in names}


def _each(done: Sequence[Measured], row: str) -> dict[str, tuple[float, ...]]:
    """For each picture the mean over seeds, of the measures that have a value a picture."""
    tables = [r.scores.each.get(row, {}) for r in done if r.scores is not None]
    names = [n for n in (tables[0] if tables else {}) if all(n in t for t in tables)]
    return {n: tuple(map(statistics.mean, zip(*(t[n] for t in tables), strict=True))) for n in names}


def _system(label: str, group: Sequence[Measured]) -> System:
    done = [r for r in group if r.scores is not None]
    worths = [r.scores.worth for r in done if r.scores is not None and r.scores.worth is not None]
    first = done[0] if done else None
    return System(
        name=label,
        refined_by=_refined_by(first),
        row=first.row if first else "refined",
        rows={row: _cells(done, row) for row in ROWS if row in done[0].pictures} if done else {},
        training=_training(group, done),
        troubles=[*dict.fromkeys(t for r in group for t in _troubles(r))],
        worth=Over.of(worths) if worths else None,
        curve=_curve(done),
        pictures=first.pictures if first else {},
    )


def _refined_by(run: Measured | None) -> str:
    if run is None:
        return "refined"
    by = "" if run.default_steps else " by its discriminator"
    return f"refined{by}, K = {run.refine_steps}"


def _troubles(run: Measured) -> list[str]:
    why = [f"seed {run.seed} failed: {run.failed}"] if run.failed else []
    return [*why, *(f"seed {run.seed}: {event}" for event in run.events)]


def _training(group: Sequence[Measured], done: Sequence[Measured]) -> dict[str, str]:
    """Facts for the table; lists are in the order of the seeds."""
    failed = [r for r in group if r.failed]
    facts = {"seeds finished": f"{len(done)} of {len(group)}"}
    if failed:
        facts["why not"] = failed[0].failed
    if not done:
        return facts
    if prior := done[0].prior:
        facts["begins with"] = begun_before(prior)
    if done[0].learnt_from:
        facts["training pictures"] = f"{done[0].learnt_from:,}"
    steps = [r.steps for r in done]
    facts["steps"] = ", ".join(f"{s:,}" for s in steps)
    facts["minutes"] = ", ".join(f"{r.seconds / 60:.1f}" for r in done)
    facts["ms a step"] = short(statistics.mean(1000 * r.seconds / max(1, r.steps) for r in done))
    memory = [r.megabytes for r in done if r.megabytes]
    facts["MB at the peak of training, all in all"] = f"{max(memory):,}" if memory else "not known"
    facts["parameters"] = f"{done[0].parameters:,}"
    facts |= _each_seed(done)
    back = sum("went back" in event for r in group for event in r.events)
    facts["watchdog: went back"] = str(back)
    facts["watchdog: other words"] = str(sum(len(r.events) for r in group) - back)
    return facts


def _each_seed(done: Sequence[Measured]) -> dict[str, str]:
    """The measures that the advice relies on, seed by seed."""
    first = done[0].scores
    cells = _cells(done, done[0].row)
    named = [] if first is None else relied_on(first.measures)
    return {
        f"{m.name}, each seed": ", ".join(short(v, m.digits) for v in cells[m.name].seeds)
        for m in named
        if m.name in cells
    }


def _curve(done: Sequence[Measured]) -> dict[str, list[Mark]]:
    """For each measure the mean over seeds at each K, with the lowest and highest seed."""
    curves: dict[str, list[Mark]] = {}
    for points in zip(*(r.curve for r in done), strict=False):
        for name in points[0].cells:
            values = [p.cells[name].value for p in points if name in p.cells]
            if any(map(math.isnan, values)):
                continue
            x = statistics.mean(p.milliseconds for p in points)
            mark = Mark(x, statistics.mean(values), min(values), max(values), str(points[0].steps))
            curves.setdefault(name, []).append(mark)
    return curves
