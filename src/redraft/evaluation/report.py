"""The report: index.html and PNGs that open from disk; pictures first, then words and numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.core import images
from redraft.evaluation.plots import Points, line_plot, scatter_plot
from redraft.evaluation.table import Interval, Measure, Scores, short
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
        _head(page),
        *(_gallery(g, folder, f"gallery{i}") for i, g in enumerate(page.galleries[:1])),
        _learned(page.scores),
        *(_gallery(g, folder, f"gallery{i + 1}") for i, g in enumerate(page.galleries[1:])),
        _trace(page, folder),
        _plots(page),
        _table(page.scores),
        _foot(page),
    ]
    style = (resources.files("redraft.evaluation") / "report.css").read_text(encoding="utf-8")
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(page.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )
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


def _head(page: Page) -> str:
    facts = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in page.facts.items())
    return f"<header>\n<h1>{escape(page.title)}</h1>\n<dl>{facts}</dl>\n</header>"


def _gallery(gallery: Gallery, folder: Path, name: str) -> str:
    size = max(max(x.shape[-2:]) for x in gallery.rows.values())
    n = min(len(x) for x in gallery.rows.values())
    blocks = []
    for start in range(0, n, ACROSS):
        strips = []
        for row, (label, x) in enumerate(gallery.rows.items()):
            file = f"{name}-{start // ACROSS}-{row}.png"
            _strip(_square(x[start : min(n, start + ACROSS)], size), folder / file)
            strips.append(f"<span>{escape(label)}</span>{_img(file, label)}")
        share = (min(n, start + ACROSS) - start) / min(n, ACROSS)
        blocks.append(f'<div class="strips" style="--share:{share:.3f}">{"".join(strips)}</div>')
    says = f"<p>{escape(gallery.says)}</p>" if gallery.says else ""
    return f"<section>\n<h2>{escape(gallery.title)}</h2>\n{says}\n{''.join(blocks)}\n</section>"


def _trace(page: Page, folder: Path) -> str:
    if page.trace is None or not len(page.trace):
        return ""
    steps = page.trace.shape[1]
    shown = torch.linspace(0, steps - 1, min(steps, ACROSS)).round().long().unique()
    strips = []
    for i, chain in enumerate(page.trace[:6]):
        file = f"trace-{i}.png"
        _strip(chain[shown.to(chain.device)], folder / file)
        strips.append(f"<span>{i + 1}</span>{_img(file, 'the chain, from draft to refined')}")
    listed = ", ".join(str(k) for k in shown.tolist())
    plot = ""
    if page.trace_energies is not None:
        series = {str(i + 1): list(enumerate(e.tolist())) for i, e in enumerate(page.trace_energies[:6])}
        drawn = line_plot(series, x="solver step", y="energy, lower = more like the data")
        plot = f'<figure class="plot">{drawn}</figure>'
    return (
        "<section>\n<h2>From draft to refined</h2>\n"
        f"<p>Left the draft, right where the solver ended (after steps {listed}).</p>\n"
        f'<div class="strips" style="--share:1">{"".join(strips)}</div>\n{plot}\n</section>'
    )


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
            drawn.append(f'<figure class="plot">{line_plot(series, x="training step", y=title)}</figure>')
    if page.scores.points:
        plot = scatter_plot(page.scores.points, x="energy", y=page.scores.worth_of)
        drawn.append(f'<figure class="plot">{plot}</figure>')
    if not drawn:
        return ""
    return f'<section>\n<h2>Curves</h2>\n<div class="plots">{"".join(drawn)}</div>\n</section>'


def _learned(scores: Scores) -> str:
    items = "".join(f"<li>{escape(f.says)}<small>{escape(f.behind)}</small></li>" for f in findings(scores))
    return f'<section>\n<h2>What was learned</h2>\n<ul class="learned">{items}</ul>\n</section>'


def _table(scores: Scores) -> str:
    head = "".join(f'<th scope="col" class="{_kind(row)}">{escape(row)}</th>' for row in scores.rows)
    body = []
    for m in scores.measures:
        cells = "".join(
            f'<td class="{_kind(row)}">{_cell(values.get(m.name), m)}</td>'
            for row, values in scores.rows.items()
        )
        arrow = {"higher": " ↑", "lower": " ↓", "one": " → 1"}.get(m.better, "")
        body.append(
            f'<tr><th scope="row">{escape(m.name)}{arrow}<small>{escape(m.says)}</small></th>{cells}</tr>'
        )
    notes = [
        f"{scores.pictures} held-out pairs; 95 % intervals beneath the values. Controls in grey.",
        *scores.notes,
    ]
    listed = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        "<section>\n<h2>Numbers, beside controls</h2>\n"
        f'<div class="wide"><table><thead><tr><td></td>{head}</tr></thead>'
        f'<tbody>{"".join(body)}</tbody></table></div>\n<div class="notes">{listed}</div>\n</section>'
    )


def _kind(row: str) -> str:
    return "ours" if row in ("draft", "refined") else "control"


def _cell(cell: Interval | None, m: Measure) -> str:
    if cell is None or cell.value != cell.value:
        return '<span class="none">–</span>'
    value = short(cell.value, m.digits)
    if cell.low == cell.high:
        return value
    return f"{value}<small>{short(cell.low, m.digits)} … {short(cell.high, m.digits)}</small>"


def _foot(page: Page) -> str:
    command = f"<p>Made by <code>{escape(page.command)}</code></p>" if page.command else ""
    features = escape(page.scores.features)
    return (
        f"<footer>{command}<p>Distances are on the features “{features}” and mean nothing beside numbers on "
        'other features. The same numbers are in <a href="scores.json">scores.json</a>.</p></footer>'
    )


def _square(x: Tensor, size: int) -> Tensor:
    """Pictures at one size for a strip: repeated where that fits, else resampled."""
    x = x.detach().float().cpu()
    if x.shape[-1] == x.shape[-2] and size % x.shape[-1] == 0:
        return F.interpolate(x, scale_factor=size // x.shape[-1]) if size != x.shape[-1] else x
    return F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)


def _strip(x: Tensor, file: Path) -> None:
    images.write(images.grid([x.clamp(-1, 1)], scale=max(1, 128 // x.shape[-1])), file)


def _img(file: str, alt: str) -> str:
    return f'<img src="{file}" alt="{escape(alt)}" loading="lazy">'
