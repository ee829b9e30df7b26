"""What does guidance do to pictures, plain and with its moments set right?

    python benchmarks/guidance.py RUN DATA [--steps 15] [--pictures 78] [--figure FILE.png]

RUN is a model of method piti, or of diffusion by category. The same noise and the same held-out conditions,
at every w and each way of treating the moments of the guided noise (sampling/diffusion.guided):

spread     deviation of a picture's numbers, of real held-out pictures 1
at the end share of numbers within 1 % of black or full: burnt out
agreement  with the condition, as `redraft evaluate` measures it
KID        to the real held-out pictures, EfficientNet-Lite0 where it is installed
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from redraft.app.check import open_folder
from redraft.app.evaluate import drawer, questions, real_pairs
from redraft.app.model import Model
from redraft.core import images
from redraft.evaluation.distances import kid
from redraft.evaluation.table import mean_interval, show
from redraft.sampling.diffusion import Moments

WEIGHTS = (0.0, 0.3, 1.0, 3.0, 6.0)
END = 0.98  # of numbers in [-1, 1]
SHOWN = 10  # pictures a row of the figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--features", default="efficientnet")
    parser.add_argument("--figure")
    args = parser.parse_args()
    model = Model.from_pretrained(args.run, "cpu")
    known, test = real_pairs(model, open_folder(args.data), args.pictures, 0)
    asked = questions(model, known, test, args.features)
    real = asked.features(test.target)
    spread = deviation(test.target)
    names = [a.name for a in asked.agreements]
    print(f"| w | moments | spread | at the end | {' | '.join(names)} | KID |")
    print("|" + "---|" * (5 + len(names)))
    cfg, rows = model.method.cfg, []
    for w, moments in settings():
        model.method.cfg = replace(cfg, guidance=w, moments=moments)
        draw = drawer(model, args.steps, 0)
        x = draw(test.condition, len(test.target), variant=0, refine=args.steps).images
        told = []
        for a in asked.agreements:
            score = a.score(x, test.condition)
            told.append(show(a.pool(score) if a.pool else mean_interval(score)))
        burnt = (x.abs() > END).float().mean()
        print(
            f"| {w:g} | {moments if w else '–'} | {deviation(x) / spread:.2f} | {burnt:.1%} | "
            f"{' | '.join(told)} | {show(kid(asked.features(x), real))} |",
            flush=True,
        )
        rows.append(x[:SHOWN])
    if args.figure:
        images.write(images.grid(rows), args.figure)


def settings() -> Iterator[tuple[float, Moments]]:
    for w in WEIGHTS:
        for moments in ("empirical", "none", "analytic") if w else ("empirical",):
            yield w, moments


def deviation(x: Tensor) -> float:
    """Mean over pictures of the deviation of their numbers."""
    return float(x.flatten(1).std(1).mean())


if __name__ == "__main__":
    main()
