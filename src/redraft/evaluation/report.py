"""The report: index.html and PNGs that open from disk; pictures first, then words and numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from redraft.core import images
from redraft.evaluation.html import (
    ARROWS,
    document,
    figures,
    found,
    head,
    img,
    measure_name,
    number,
    paragraphs,
    section,
    square,
    strip,
)
from redraft.evaluation.plots import Mark, Points, curve_plot, line_plot, scatter_plot
from redraft.evaluation.table import NEAREST, Measure, Scores
from redraft.evaluation.words import findings

ACROSS = 12  # pictures of a strip


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Rows of pictures that belong together, column by column: name -> [N, C, H, W] in [-1, 1]."""

    title: str
    rows: Mapping[str, Tensor]
    says: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a report shows. All text may come from the user: it is escaped here and nowhere else."""

    title: str
    facts: Mapping[str, str]  # data, task, method, size, training time, hash, ...
    scores: Scores
    galleries: Sequence[Gallery]  # the first is what the reader sees first
    trace: Tensor | None = None  # [R, K + 1, C, H, W]: chains from draft to refined
    trace_energies: Tensor | None = None  # [R, K + 1]
    metrics: Mapping[str, Points] = field(default_factory=dict)  # metrics.csv by column; see read_metrics
    command: str = ""  # what made it


def write(page: Page, folder: Path | str) -> Path:
    """Write ``folder``/index.html, its PNGs and scores.json; return the page's path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = [
        head(page.title, page.facts),
        *(_gallery(g, folder, f"gallery{i}") for i, g in enumerate(page.galleries[:1])),
        _learned(page.scores),
        *(_gallery(g, folder, f"gallery{i + 1}") for i, g in enumerate(page.galleries[1:])),
        _trace(page, folder),
        _plots(page),
        _against_time(page.scores),
        _table(page.scores),
        _foot(page),
    ]
    text = document(page.title, parts)
    images.save(folder / "scores.json", json.dumps(page.scores.to_dict(), indent=1).encode())
    images.save(folder / "index.html", text.encode())
    return folder / "index.html"


def read_metrics(file: Path | str) -> dict[str, list[tuple[float, float]]]:
    """metrics.csv as (step, value) by column; the first column is the step, empty cells are left out."""
    with Path(file).open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        columns = next(rows, [])
        series: dict[str, list[tuple[float, float]]] = {name: [] for name in columns[1:]}
        for row in rows:
            if len(row) != len(columns):
                continue  # the last line of a killed run
            for name, cell in zip(columns[1:], row[1:], strict=True):
                if cell:
                    series[name].append((float(row[0]), float(cell)))
    return series


def _gallery(gallery: Gallery, folder: Path, name: str) -> str:
    size = max(max(x.shape[-2:]) for x in gallery.rows.values())
    n = min(len(x) for x in gallery.rows.values())
    blocks = []
    for start in range(0, n, ACROSS):
        strips = []
        for row, (label, x) in enumerate(gallery.rows.items()):
            file = f"{name}-{start // ACROSS}-{row}.png"
            strip(square(x[start : min(n, start + ACROSS)], size), folder / file)
            strips.append(f"<span>{escape(label)}</span>{img(file, label)}")
        share = (min(n, start + ACROSS) - start) / min(n, ACROSS)
        blocks.append(f'<div class="strips" style="--share:{share:.3f}">{"".join(strips)}</div>')
    return section(gallery.title, "".join(blocks), gallery.says)


def _trace(page: Page, folder: Path) -> str:
    if page.trace is None or not len(page.trace):
        return ""
    steps = page.trace.shape[1]
    shown = torch.linspace(0, steps - 1, min(steps, ACROSS)).round().long().unique()
    strips = []
    for i, chain in enumerate(page.trace[:6]):
        file = f"trace-{i}.png"
        strip(chain[shown.to(chain.device)], folder / file)
        strips.append(f"<span>{i + 1}</span>{img(file, 'the chain, from draft to refined')}")
    listed = ", ".join(str(k) for k in shown.tolist())
    plot = ""
    if page.trace_energies is not None:
        series = {str(i + 1): list(enumerate(e.tolist())) for i, e in enumerate(page.trace_energies[:6])}
        drawn = line_plot(series, x="solver step", y="energy, lower = more like the data")
        plot = f'<figure class="plot">{drawn}</figure>'
    inside = f'<div class="strips" style="--share:1">{"".join(strips)}</div>\n{plot}'
    says = f"Left the draft, right where the solver ended (after steps {listed})."
    return section("From draft to refined", inside, says)


def _plots(page: Page) -> str:
    m = page.metrics
    groups = (
        (
            "energies: real, drafts, refined",
            ("energy_data", "energy_draft", "energy_refined", "energy_wrong"),
        ),
        ("how far the solver moves a draft", ("move",)),
        ("gradient norms", tuple(k for k in m if k.startswith("grad"))),
        ("share of time waiting for data", ("wait",)),
    )
    drawn = []
    for title, names in groups:
        series = {n.removeprefix("energy_"): m[n] for n in names if m.get(n)}
        if series:
            drawn.append(line_plot(series, x="training step", y=title))
    if page.scores.points:
        drawn.append(scatter_plot(page.scores.points, x="energy", y=page.scores.worth_of))
    return section("Curves", figures(drawn)) if drawn else ""


def _learned(scores: Scores) -> str:
    return section("What was learned", found(findings(scores)))


def _against_time(scores: Scores) -> str:
    """Another's drafts, steps from them and steps from noise: a curve a measure, and the numbers."""
    rows = scores.timed
    shown = [m for m in scores.measures if any(m.name in cells for cells in rows.values())]
    names = "".join(f'<th scope="col">{measure_name(m)}</th>' for m in shown)
    lines = [
        f'<tr><th scope="row">{escape(row)}</th>'
        + "".join(f"<td>{number(cells.get(m.name), m)}</td>" for m in shown)
        + "</tr>"
        for row, cells in rows.items()
    ]
    table = f"<table><thead><tr><td></td>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    plots = [_curve(scores, m) for m in shown if m.name != "ms a picture"]
    says = (
        "Another model's drafts; steps of this model from them, noised to a share of the schedule; and steps "
        "from noise, without drafts. A number at a mark: how many steps. Times are of "
        "pictures with their drafts, without the scores that the table below counts in. Dashed: what is free."
    )
    inside = f'{figures(plots)}\n<div class="wide">{table}</div>'
    return section("Quality against time", inside, says) if rows else ""


def _curve(scores: Scores, m: Measure) -> str:
    series = {
        name: [Mark(p.milliseconds, *p.cells[m.name], str(p.steps)) for p in points if m.name in p.cells]
        for name, points in scores.against_time.items()
    }
    free = {row: scores.rows.get(row, {}) for row in ("real, training", NEAREST)}
    controls = {row: cells[m.name].value for row, cells in free.items() if m.name in cells}
    return curve_plot(
        series, dict(list(controls.items())[:1]), x="ms a picture", y=m.name + ARROWS.get(m.better, "")
    )


def _table(scores: Scores) -> str:
    names = "".join(f'<th scope="col" class="{_kind(row)}">{escape(row)}</th>' for row in scores.rows)
    body = []
    for m in scores.measures:
        cells = "".join(
            f'<td class="{_kind(row)}">{number(values.get(m.name), m)}</td>'
            for row, values in scores.rows.items()
        )
        body.append(f'<tr><th scope="row">{measure_name(m)}</th>{cells}</tr>')
    notes = [
        f"{scores.pictures} held-out pairs; 95 % intervals beneath the values. Controls in grey.",
        *scores.notes,
    ]
    table = f"<table><thead><tr><td></td>{names}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return section("Numbers, beside controls", f'<div class="wide">{table}</div>\n{paragraphs(notes)}')


def _kind(row: str) -> str:
    return "ours" if row in ("draft", "refined") else "control"


def _foot(page: Page) -> str:
    command = f"<p>Made by <code>{escape(page.command)}</code></p>" if page.command else ""
    features = escape(page.scores.features)
    return (
        f"<footer>{command}<p>Distances are on the features “{features}” and mean nothing beside numbers on "
        'other features. The same numbers are in <a href="scores.json">scores.json</a>.</p></footer>'
    )
