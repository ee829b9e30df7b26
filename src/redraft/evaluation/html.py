"""What reports are put together from: the document, facts, pictures, numbers. Text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from redraft.core import images
from redraft.evaluation.table import Interval, Measure, short
from redraft.evaluation.words import Finding

ARROWS = {"higher": " ↑", "lower": " ↓", "one": " → 1"}


def document(title: str, parts: Iterable[str], kind: str = "") -> str:
    """The whole page; ``kind`` is a class of its body in report.css."""
    style = (resources.files("redraft.evaluation") / "report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body class="{kind}">\n<main>\n'
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def head(title: str, facts: Mapping[str, str]) -> str:
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    return f"<header>\n<h1>{escape(title)}</h1>\n<dl>{listed}</dl>\n</header>"


def section(title: str, inside: str, says: str = "") -> str:
    told = f"<p>{escape(says)}</p>\n" if says else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{told}{inside}\n</section>"


def found(findings: Sequence[Finding]) -> str:
    items = "".join(f"<li>{escape(f.says)}<small>{escape(f.behind)}</small></li>" for f in findings)
    return f'<ul class="learned">{items}</ul>'


def figures(plots: Sequence[str]) -> str:
    """SVG plots side by side."""
    drawn = "".join(f'<figure class="plot">{plot}</figure>' for plot in plots)
    return f'<div class="plots">{drawn}</div>'


def img(file: str, alt: str) -> str:
    return f'<img src="{file}" alt="{escape(alt)}" loading="lazy">'


def measure_name(m: Measure) -> str:
    return f"{escape(m.name)}{ARROWS.get(m.better, '')}<small>{escape(m.says)}</small>"


def number(cell: Interval | None, m: Measure) -> str:
    """A value, with its interval beneath where it has one."""
    if cell is None or cell.value != cell.value:
        return '<span class="none">–</span>'
    value = short(cell.value, m.digits)
    return value if cell.low == cell.high else f"{value}<small>{between(cell, m.digits)}</small>"


def between(cell: Interval, digits: int) -> str:
    return f"{short(cell.low, digits)} … {short(cell.high, digits)}"


def paragraphs(notes: Iterable[str]) -> str:
    return f'<div class="notes">{"".join(f"<p>{escape(note)}</p>" for note in notes)}</div>'


def square(x: Tensor, size: int) -> Tensor:
    """Pictures at one size for a strip: repeated where that fits, else resampled."""
    x = x.detach().float().cpu()
    if x.shape[-1] == x.shape[-2] and size % x.shape[-1] == 0:
        return F.interpolate(x, scale_factor=size // x.shape[-1]) if size != x.shape[-1] else x
    return F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)


def strip(x: Tensor, file: Path, *, upright: bool = False) -> None:
    """Pictures [N, C, H, W] side by side, or one below the other, as a PNG."""
    rows = list(x.clamp(-1, 1).split(1)) if upright else [x.clamp(-1, 1)]
    images.write(images.grid(rows, scale=max(1, 128 // x.shape[-1])), file)
