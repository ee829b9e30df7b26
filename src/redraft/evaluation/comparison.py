"""The report of a comparison: the advice first, then the same inputs across methods, then numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from redraft.core import images
from redraft.evaluation.compare import Advice, Over
from redraft.evaluation.html import (
    between,
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
from redraft.evaluation.plots import Mark, curve_plot
from redraft.evaluation.table import Interval, Measure, short

LONG = 300  # characters beyond which a reason is cut


@dataclass(frozen=True, kw_only=True)
class System:
    """A method as the report shows it. Dictionaries are by the measure's name where not said otherwise."""

    name: str
    refined_by: str  # what its refined pictures are
    row: str  # "draft" or "refined": what it makes by default
    rows: Mapping[str, Mapping[str, Over]]  # by row
    training: Mapping[str, str]  # facts of its trainings
    troubles: Sequence[str] = ()  # what the watchdog said, why seeds failed
    worth: Over | None = None  # rank correlation of energy and error
    curve: Mapping[str, Sequence[Mark]] = field(default_factory=dict)
    pictures: Mapping[str, Tensor] = field(default_factory=dict)  # draft, refined, nearest, variant 0, ...


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the report shows. All text may come from the user: it is escaped here."""

    title: str
    facts: Mapping[str, str]
    advice: Advice
    measures: Sequence[Measure]
    systems: Sequence[System]
    controls: Mapping[str, Mapping[str, Interval]]
    real: Mapping[str, Tensor]  # given, truth or real
    worth_of: str = ""
    shown_seed: int = 0
    notes: Sequence[str] = ()
    command: str = ""


def write(page: Comparison, folder: Path) -> Path:
    """Write ``folder``/index.html, its PNGs and compare.md; return the page's path."""
    done = [s for s in page.systems if s.pictures]
    parts = [
        head(page.title, page.facts),
        _advice(page.advice),
        _inputs(page, done, folder),
        _numbers(page),
        _curves(page, done),
        _variants(page, done, folder),
        _nearest(done, folder),
        _training(page),
        _foot(page),
    ]
    images.save(folder / "compare.md", markdown(page).encode())
    images.save(folder / "index.html", document(page.title, parts, "comparison").encode())
    return folder / "index.html"


def markdown(page: Comparison) -> str:
    """The advice and the table for a document: a line a measure, intervals over pictures; over seeds."""
    columns = [(s, row) for s in page.systems for row in s.rows]
    titles = [f"{s.name}, {_row_name(s, row)}" for s, row in columns]
    lines = ["| |" + "|".join([*titles, *page.controls]) + "|"]
    lines.append("|---" * (len(titles) + len(page.controls) + 1) + "|")
    for m in page.measures:
        ours = [_plain(s.rows[row].get(m.name), m) for s, row in columns]
        theirs = [_plain_control(cells.get(m.name), m) for cells in page.controls.values()]
        lines.append(f"|{m.name}|" + "|".join([*ours, *theirs]) + "|")
    reasons = [f"- {f.says} {f.behind}".rstrip() for f in page.advice.reasons]
    failed = [f"- {s.name}: {t}" for s in page.systems for t in s.troubles]
    return "\n".join([page.advice.says, "", *lines, "", *reasons, *failed]) + "\n"


def _plain(cell: Over | None, m: Measure) -> str:
    if cell is None or math.isnan(cell.value):
        return "–"
    said = short(cell.value, m.digits)
    if cell.pictures.low != cell.pictures.high:
        said += f" [{short(cell.pictures.low, m.digits)}, {short(cell.pictures.high, m.digits)}]"
    if len(cell.seeds) > 1:
        said += f"; {short(min(cell.seeds), m.digits)} to {short(max(cell.seeds), m.digits)}"
    return said


def _plain_control(cell: Interval | None, m: Measure) -> str:
    return _plain(None if cell is None else Over.of([cell]), m)


def _row_name(system: System, row: str) -> str:
    return "draft" if row == "draft" else system.refined_by


def _advice(advice: Advice) -> str:
    inside = f'<p class="verdict">{escape(advice.says)}</p>'
    return section("What to take", inside + found(advice.reasons))


# --- pictures


def _inputs(page: Comparison, done: Sequence[System], folder: Path) -> str:
    """Columns: condition, truth, each method's draft and refined; each column is one tall picture."""
    columns = [(name, "", x, False) for name, x in page.real.items()]
    for s in done:
        for row in (name for name in ("draft", "refined") if name in s.pictures):
            columns.append((s.name, _row_name(s, row), s.pictures[row], row == s.row))
    if not done:
        return ""
    size = max(x.shape[-1] for _, _, x, _ in columns)
    cells = []
    for i, (name, what, x, chosen) in enumerate(columns):
        file = f"inputs-{i}.png"
        strip(square(x, size), folder / file, upright=True)
        kind = ' class="chosen"' if chosen else ""
        says = f"<b>{escape(name)}</b><small>{escape(what)}</small>"
        cells.append(f"<div{kind}><span>{says}</span>{img(file, f'{name} {what}')}</div>")
    says = (
        "Held-out inputs, the same for all, in no order of quality. A mark above a column: what the method "
        f"makes by default. The seed that is shown is {page.shown_seed} where it was finished."
    )
    inside = f'<div class="wide"><div class="columns" style="--n:{len(columns)}">{"".join(cells)}</div></div>'
    return section("The same inputs across methods", inside, says)


def _variants(page: Comparison, done: Sequence[System], folder: Path) -> str:
    """For the first conditions several z each: one row a method."""
    blocks = []
    count = min((len(s.pictures["variant 0"]) for s in done), default=0)
    for i in range(count):
        strips = []
        for j, s in enumerate(done):
            drawn = [x[i : i + 1] for name, x in s.pictures.items() if name.startswith("variant")]
            file = f"variants-{i}-{j}.png"
            strip(torch.cat(drawn), folder / file)
            strips.append(f"<span>{escape(s.name)}</span>{img(file, f'{s.name}, other z')}")
        blocks.append(f'<div class="strips" style="--share:1">{"".join(strips)}</div>')
    if "condition" in page.real:
        says = "One condition with several z: what differs is the method's own choice. Alike: z is ignored."
    else:
        says = "More pictures of each method, from other z."
    return section("Diversity", f'<div class="beside">{"".join(blocks)}</div>', says) if blocks else ""


def _nearest(done: Sequence[System], folder: Path) -> str:
    blocks = []
    for j, s in enumerate(done):
        strips = []
        for row, label in ((s.row, s.name), ("nearest", "nearest in training")):
            file = f"nearest-{j}-{row}.png"
            strip(s.pictures[row], folder / file)
            strips.append(f"<span>{escape(label)}</span>{img(file, label)}")
        blocks.append(f'<div class="strips" style="--share:1">{"".join(strips)}</div>')
    says = "Each picture with the training picture that it is most like, pixel by pixel at low resolution."
    return (
        section("Learned by heart?", f'<div class="beside">{"".join(blocks)}</div>', says) if blocks else ""
    )


# --- numbers


def _numbers(page: Comparison) -> str:
    columns = [(s, row) for s in page.systems for row in s.rows]
    names = "".join(
        f'<th scope="col" class="{_kind(s, row)}">{escape(s.name)}'
        f"<small>{escape(_row_name(s, row))}</small></th>"
        for s, row in columns
    )
    names += "".join(f'<th scope="col" class="control">{escape(c)}</th>' for c in page.controls)
    lines = []
    for m in page.measures:
        ours = "".join(
            f'<td class="{_kind(s, row)}">{_over(s.rows[row].get(m.name), m)}</td>' for s, row in columns
        )
        theirs = "".join(
            f'<td class="control">{number(cells.get(m.name), m)}</td>' for cells in page.controls.values()
        )
        lines.append(f'<tr><th scope="row">{measure_name(m)}</th>{ours}{theirs}</tr>')
    lines += _worth(page, columns)
    table = f"<table><thead><tr><td></td>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    says = (
        "Means over seeds. Beneath: first the 95 % interval over pictures (mean of the seeds' intervals), "
        "then, after “seeds”, the lowest and the highest seed. Controls in grey."
    )
    return section(
        "Numbers, beside controls", f'<div class="wide">{table}</div>{paragraphs(page.notes)}', says
    )


def _worth(page: Comparison, columns: Sequence[tuple[System, str]]) -> list[str]:
    """The calibration of the scores, where there is an error to compare with."""
    if not any(s.worth for s in page.systems):
        return []
    m = Measure("worth of the score", "higher", f"rank correlation of energy with {page.worth_of}", 2)
    cells = "".join(
        f'<td class="{_kind(s, row)}">{_over(s.worth if row == "refined" else None, m)}</td>'
        for s, row in columns
    )
    empty = '<td class="control"><span class="none">–</span></td>' * len(page.controls)
    return [f'<tr><th scope="row">{measure_name(m)}</th>{cells}{empty}</tr>']


def _over(cell: Over | None, m: Measure) -> str:
    shown = number(None if cell is None else cell.pictures, m)
    if cell is None or math.isnan(cell.value) or len(cell.seeds) < 2:
        return shown
    spread = Interval(cell.value, min(cell.seeds), max(cell.seeds))
    return f'{shown}<small class="seeds">seeds {between(spread, m.digits)}</small>'


def _kind(system: System, row: str) -> str:
    return "chosen" if row == system.row else "ours"


def _curves(page: Comparison, done: Sequence[System]) -> str:
    """Quality against milliseconds a picture; the refinement steps trace a curve for each method."""
    plots = []
    for m in page.measures:
        series = {s.name: s.curve[m.name] for s in done if s.curve.get(m.name)}
        if not series:
            continue
        controls = {c: cells[m.name].value for c, cells in page.controls.items() if m.name in cells}
        better = {"higher": ", higher is better", "lower": ", lower is better"}.get(m.better, "")
        plots.append(curve_plot(series, _drawn(controls), x="ms a picture", y=m.name + better))
    says = (
        "Each mark is K steps of refinement, the number beside it; bars reach from the lowest to the highest "
        "seed. Times are of this machine, in a batch. Dashed: real pictures, or what costs nothing to make."
    )
    return section("Quality against time", figures(plots), says) if plots else ""


def _drawn(controls: Mapping[str, float]) -> dict[str, float]:
    """Real pictures where they have the measure, else the control that is nearest to them."""
    real = {c: v for c, v in controls.items() if c.startswith("real")}
    return real or {c: v for c, v in controls.items() if c.startswith("nearest")}


def _training(page: Comparison) -> str:
    facts = list(dict.fromkeys(key for s in page.systems for key in s.training))
    names = "".join(f'<th scope="col">{escape(s.name)}</th>' for s in page.systems)
    lines = [
        f'<tr><th scope="row">{escape(key)}</th>'
        + "".join(f"<td>{escape(s.training.get(key, '–'))}</td>" for s in page.systems)
        + "</tr>"
        for key in facts
    ]
    table = f"<table><thead><tr><td></td>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    told = [f"{s.name}: {_cut(trouble)}" for s in page.systems for trouble in s.troubles]
    return section("Training", f'<div class="wide">{table}</div>{paragraphs(told)}')


def _cut(text: str) -> str:
    return text if len(text) <= LONG else text[:LONG] + " ..."


def _foot(page: Comparison) -> str:
    return (
        f"<footer><p>Made by <code>{escape(page.command)}</code>; the same line goes on where it stopped. "
        'All numbers are in <a href="compare.json">compare.json</a>, the table as Markdown in '
        '<a href="compare.md">compare.md</a>.</p></footer>'
    )
