"""Small plots as SVG text: no script, no font to load; colours that hold on light and dark paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

Points = Sequence[tuple[float, float]]

INK, FAINT = "#6b6a66", "#d9d6cf"
COLOURS = ("#b4532a", "#2f6f8f", "#6a8a3a", "#8a5a8f", "#a8842c", "#4d4d4d")
WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 34, 46
MOST = 400  # points of a line: more cannot be seen
DOTS = 800  # of a scatter


def line_plot(series: Mapping[str, Points], *, x: str, y: str) -> str:
    """Lines by name, each a list of (x, y); points that are not finite are left out."""
    clean = {name: _thinned(_finite(points)) for name, points in series.items()}
    clean = {name: points for name, points in clean.items() if points}
    frame = _Frame([p for points in clean.values() for p in points])
    body = []
    for colour, (name, points) in zip(_colours(), clean.items(), strict=False):
        path = " ".join(f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in points)
        dot = f'<circle cx="{frame.x(points[-1][0]):.1f}" cy="{frame.y(points[-1][1]):.1f}" r="2.6"'
        body.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"'
            f' stroke-linejoin="round"><title>{escape(name)}</title></polyline>{dot} fill="{colour}"/>'
        )
    return _svg(frame, body + (_legend(clean) if len(clean) > 1 else []), x, y)


class Mark(NamedTuple):
    """A point of a curve: where, from where to where its value may lie, and what is written beside it."""

    x: float
    y: float
    low: float
    high: float
    text: str = ""


def curve_plot(series: Mapping[str, Sequence[Mark]], controls: Mapping[str, float], *, x: str, y: str) -> str:
    """Curves of marks over a logarithmic x (all greater than 0), dashed lines for what costs nothing."""
    clean = {name: [m for m in marks if _sound(m)] for name, marks in series.items()}
    clean = {name: marks for name, marks in clean.items() if marks}
    still = {name: value for name, value in controls.items() if math.isfinite(value)}
    every = [m for marks in clean.values() for m in marks]
    ends = [(m.x, end) for m in every for end in (m.y, m.low, m.high)]
    frame = _LogFrame([*ends, *((m.x, value) for m in every[:1] for value in still.values())])
    body = []
    for name, value in still.items():
        at = frame.y(value)
        body.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="{INK}"'
            f' stroke-dasharray="4 4"/>' + _text(WIDTH - RIGHT, at - 5, name, "end")
        )
    for colour, (_, marks) in zip(_colours(), clean.items(), strict=False):
        path = " ".join(f"{frame.x(m.x):.1f},{frame.y(m.y):.1f}" for m in marks)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        body += [_mark(frame, m, colour) for m in marks]
    return _svg(frame, body + _legend(clean), x, y)


def _sound(mark: Mark) -> bool:
    return mark.x > 0 and all(map(math.isfinite, mark[:4]))


def _mark(frame: _Frame, m: Mark, colour: str) -> str:
    a, b = frame.x(m.x), frame.y(m.y)
    bar = f'<line x1="{a:.1f}" x2="{a:.1f}" y1="{frame.y(m.low):.1f}" y2="{frame.y(m.high):.1f}"'
    dot = f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.2" fill="{colour}"/>'
    text = _text(a + 6, b - 6, m.text, "start", colour) if m.text else ""
    return f'{bar} stroke="{colour}" stroke-opacity=".35" stroke-width="3"/>{dot}{text}'


def scatter_plot(points: Points, *, x: str, y: str) -> str:
    """Dots at (x, y)."""
    clean = _finite(points)
    clean = clean[:: math.ceil(len(clean) / DOTS) or 1]
    frame = _Frame(clean)
    body = [
        f'<circle cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}" r="2.6" fill="{COLOURS[1]}" fill-opacity=".5"/>'
        for a, b in clean
    ]
    return _svg(frame, body, x, y)


class _Frame:
    """Data units to drawing units."""

    def __init__(self, points: Points) -> None:
        xs = [p[0] for p in points] or [0.0, 1.0]
        self.xs, self.ys = ticks(xs), ticks([p[1] for p in points] or [0.0, 1.0])
        self.left, self.right = min(xs), max(xs)
        if self.left == self.right:
            self.left, self.right = self.xs[0], self.xs[-1]

    def x(self, value: float) -> float:
        share = (value - self.left) / (self.right - self.left)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.ys[0]) / (self.ys[-1] - self.ys[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


class _LogFrame(_Frame):
    """The same with a logarithmic x: marked at 1, 2 and 5 times powers of ten."""

    def __init__(self, points: Points) -> None:
        super().__init__(points)
        xs = [p[0] for p in points] or [1.0, 10.0]
        low, high = min(xs) / 1.15, max(xs) * 1.3
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        self.xs = [m * 10.0**e for e in powers for m in (1, 2, 5)]
        self.left, self.right = low, high

    def x(self, value: float) -> float:
        share = math.log(value / self.left) / math.log(self.right / self.left)
        return LEFT + share * (WIDTH - LEFT - RIGHT)


def ticks(values: Sequence[float], about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that enclose all values."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-30):
        pad = abs(low) / 2 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _svg(frame: _Frame, body: list[str], x: str, y: str) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    grid = []
    for value in frame.ys:
        at = frame.y(value)
        grid.append(f'<line x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="{FAINT}"/>')
        grid.append(_text(LEFT - 8, at + 4, _number(value), "end"))
    for value in (v for v in frame.xs if frame.left <= v <= frame.right):
        grid.append(_text(frame.x(value), bottom + 18, _number(value), "middle"))
    grid.append(_text(LEFT - 54, TOP - 18, y, "start"))
    grid.append(_text(right, HEIGHT - 8, x, "end"))
    inside = "\n".join(grid + body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{escape(y)} against {escape(x)}" font-family="system-ui, sans-serif" font-size="12">'
        f"\n{inside}\n</svg>\n"
    )


def _legend(series: Mapping[str, object]) -> list[str]:
    made, at = [], float(WIDTH - RIGHT)
    for colour, name in reversed(list(zip(_colours(), series, strict=False))):
        made.append(_text(at, TOP - 18, name, "end", colour))
        at -= 7.2 * len(name) + 16
    return made


def _text(x: float, y: float, text: str, anchor: str, colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−") if abs(value) < 1e5 else f"{value:.0e}"


def _finite(points: Points) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in points if math.isfinite(a) and math.isfinite(b)]


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST points: means of neighbours, which also takes the noise of single steps away."""
    if len(points) <= MOST:
        return points
    size = math.ceil(len(points) / MOST)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(a for a, _ in g) / len(g), sum(b for _, b in g) / len(g)) for g in groups]


def _colours() -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(64)]
