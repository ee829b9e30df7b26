#!/usr/bin/env python3
"""A results table from evaluated runs: python scripts/results.py RUN [RUN ...]

One run: each cell with the interval of its report. Several (seeds): the mean and the range over them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from redraft.evaluation.table import Interval, Scores, show


def main(runs: list[str]) -> None:
    files = [Path(run) / "report" / "scores.json" for run in runs]
    scores = [Scores.from_dict(json.loads(file.read_text())) for file in files]
    names = [m.name for m in scores[0].measures if m.name not in ("MB", "density")]
    print("| |" + "|".join(names) + "|\n" + "|---" * (len(names) + 1) + "|")
    for row in scores[0].rows:
        print(f"|{row}|" + "|".join(show(over_seeds(scores, row, name)) for name in names) + "|")
    print()
    for s, run in zip(scores, runs, strict=True):
        changed = ", ".join(f"{name} {show(cell)}" for name, cell in s.change.items())
        worth = f"; rank correlation of energy and {s.worth_of}: {show(s.worth)}" if s.worth else ""
        print(f"- {Path(run).name}: refined minus draft, same pictures: {changed or 'none paired'}{worth}.")


def over_seeds(scores: list[Scores], row: str, name: str) -> Interval | None:
    cells = [s.rows[row][name] for s in scores if name in s.rows.get(row, {})]
    if len(cells) < 2:
        return cells[0] if cells else None
    values = [c.value for c in cells]
    return Interval(sum(values) / len(values), min(values), max(values))


if __name__ == "__main__":
    main(sys.argv[1:])
