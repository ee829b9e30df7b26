"""Many runs of a slow method, judged by one picture for each held-out condition.

    python benchmarks/one_draw.py DATA RUN [RUN ...] [--steps 8] [--features efficientnet] [--figure FILE.png]

Runs whose names differ in what follows the last _ are seeds of one another (piti_0, piti_1). Each row: mean
over them of KID, of agreement with the condition and of LPIPS (where $REDRAFT_LPIPS names its weights), as
`redraft evaluate` measures them on the same pictures, with [95 % interval over pictures, mean of the seeds']
(lowest to highest seed). That command has controls, four variants and the curve of refinement too, and takes
many times as long. ``--steps`` is K, by default each run's own. The figure has the conditions, then a row of
pictures for each first seed, of the same noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import Tensor

from redraft.app.check import open_folder
from redraft.app.evaluate import drawer, questions, real_pairs
from redraft.app.model import Model
from redraft.core import images
from redraft.core.types import Pair
from redraft.evaluation.distances import kid
from redraft.evaluation.evaluate import Asked
from redraft.evaluation.table import Interval, mean_interval, show

SHOWN = 10  # pictures a row of the figure


def main() -> None:
    args = options()
    found: dict[str, list[dict[str, Interval]]] = {}
    rows: list[Tensor] = []
    known, test, asked = protocol(args.runs[0], args.data, args.features)
    real = asked.features(test.target)
    for run in args.runs:
        model = Model.from_pretrained(run, "cpu")
        x = drawer(model, args.steps, 0)(
            test.condition, len(test.target), variant=0, refine=args.steps
        ).images
        label = Path(run).name.rpartition("_")[0] or Path(run).name
        if not rows and test.condition is not None:
            rows.append(model.task.show(test.condition[:SHOWN], SHOWN))
        if label not in found:
            rows.append(x[:SHOWN])
        found.setdefault(label, []).append(measured(x, test, real, asked))
    names = list(next(iter(found.values()))[0])
    print(f"| | seeds | {' | '.join(names)} |\n|{'---|' * (2 + len(names))}")
    for label, seeds in found.items():
        cells = [over_seeds([cells[name] for cells in seeds]) for name in names]
        print(f"| {label} | {len(seeds)} | {' | '.join(cells)} |")
    if args.figure:
        images.write(images.grid(rows), args.figure)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--features", default="efficientnet")
    parser.add_argument("--figure")
    return parser.parse_args()


def protocol(run: str, data: str, features: str) -> tuple[Pair, Pair, Asked]:
    """Training pairs, held-out pairs and what is asked of pictures; the same for all runs of a task."""
    model = Model.from_pretrained(run, "cpu")
    known, test = real_pairs(model, open_folder(data), 1000, 0)
    return known, test, questions(model, known, test, features)


def measured(x: Tensor, test: Pair, real: Tensor, asked: Asked) -> dict[str, Interval]:
    assert test.condition is not None
    cells = {"KID": kid(asked.features(x), real)}
    for a in asked.agreements:
        score = a.score(x, test.condition)
        cells[a.name] = a.pool(score) if a.pool else mean_interval(score)
    if asked.distance is not None:
        cells["LPIPS"] = mean_interval(asked.distance(x, test.target))
    return cells


def over_seeds(cells: list[Interval]) -> str:
    values = [c.value for c in cells]
    mean = Interval(*(sum(c[i] for c in cells) / len(cells) for i in range(3)))
    spread = f" ({min(values):.3g} to {max(values):.3g})" if len(values) > 1 else ""
    return show(mean) + spread


if __name__ == "__main__":
    main()
