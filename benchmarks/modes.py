"""Does CoopInit keep a GAN from dropping modes? Two laws whose modes can be counted (laws.py).

    python benchmarks/modes.py MNIST [--out FOLDER] [--seeds 0 1 2] [--figure FILE.png]

points   25 Gaussians on a 5 x 5 grid, as pictures of one pixel and two channels
stacked  three digits of MNIST as the channels of one picture: 1000 modes, told by a classifier of digits

Every run is one call of ``redraft.training.train``. All ways cost the same seconds: the cooperative stage
gets as many steps as cost its share of the plain training, which then lack at the end. The runs of one seed
have the same first weights and the same batches. Seconds are the processor's, one thread, so that what else
runs on the machine does not decide. Runs that are already in FOLDER are not made again: stop and go on at
will. MNIST is a folder that ``redraft data check`` understands.
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from laws import Points, Problem, Scores, stacked
from torch import Tensor, nn

from redraft.core import images
from redraft.core.rng import Noise, stream
from redraft.core.types import Pair
from redraft.methods.coopinit import CoopInit
from redraft.methods.gan import Gan
from redraft.methods.method import Update
from redraft.nets.parts import Initializer
from redraft.training import train

# two-sided 95 % of Student's t for a mean of n values
T = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 12: 2.201, 16: 2.131, 20: 2.093, 24: 2.069}


@dataclass(frozen=True)
class Arm:
    loss: str
    network: str
    seed: int
    share: float  # of the time, for the cooperative stage; 0: plain

    @property
    def name(self) -> str:
        return f"{self.loss}_{self.network}_{self.seed}_{self.share:g}".replace(" ", "-")


def arms(problem: Problem, seeds: list[int], shares: list[float]) -> Iterator[Arm]:
    """The ways of one pair side by side, in turns first: a drift of the machine meets all alike."""
    for seed in seeds:
        for i, loss in enumerate(problem.settings):
            for j, network in enumerate(problem.networks):
                ways = [0.0, *shares]
                for share in ways if (seed + i + j) % 2 else reversed(ways):
                    yield Arm(loss, network, seed, share)


class Meter:
    """Stands in for a method's ``step`` and notes the processor's clock at each start, and the stage."""

    def __init__(self, method: nn.Module) -> None:
        self.method, self.step = method, method.step
        self.starts: list[float] = []
        self.stages: list[str] = []

    def __call__(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        self.starts.append(time.process_time())
        values = self.step(batch, update, rng)
        self.stages.append(self.method.stage)
        return values

    def spent(self, cooperative: bool) -> list[float]:
        """Seconds of each step of that stage, the trainer's own work included."""
        ends = zip(self.starts, self.starts[1:], self.stages, strict=False)
        return [b - a for a, b, stage in ends if (stage == "cooperative") == cooperative]


def learn(problem: Problem, arm: Arm, steps: int, first: int) -> tuple[Initializer, Meter]:
    """One training of ``steps`` steps, the ``first`` of which are cooperative."""
    torch.manual_seed(arm.seed)
    solver, initializer = problem.build(arm.network)
    method: nn.Module = Gan(problem.settings[arm.loss], solver=solver, initializer=initializer)
    if first:
        method = CoopInit(CoopInit.Config(share=first / steps), method)  # type: ignore[arg-type]
    method.step = meter = Meter(method)  # type: ignore[assignment]

    def batch_at(t: int) -> Pair:
        return Pair(None, problem.real(problem.train.batch, stream(arm.seed, "batch", t)))

    with tempfile.TemporaryDirectory() as folder:
        train(method, batch_at, replace(problem.train, steps=steps), Path(folder), seed=arm.seed)
    return initializer, meter


@cache
def price(problem: Problem, loss: str, network: str, steps: int = 25) -> float:
    """What a cooperative step costs, in adversarial ones: medians of a training that is half and half."""
    _, meter = learn(problem, Arm(loss, network, 0, 0.5), 2 * steps, steps)
    return statistics.median(meter.spent(True)) / statistics.median(meter.spent(False))


def run(problem: Problem, arm: Arm) -> tuple[Scores, Tensor]:
    """One training: what it scores and cost, and what it made."""
    given, first = round(arm.share * problem.steps), 0
    if given:
        first = max(1, round(given / price(problem, arm.loss, arm.network)))
    steps = problem.steps - given + first
    initializer, meter = learn(problem, arm, steps, first)
    made = sample(initializer, problem.samples)
    costs = {
        "steps": float(steps),
        "seconds": meter.starts[-1] - meter.starts[0],
        "first_steps": float(first),
        "first_seconds": sum(meter.spent(True)),
    }
    return {**problem.score(made), **costs}, made


@torch.no_grad()
def sample(initializer: Initializer, n: int) -> Tensor:
    z = torch.randn(n, *initializer.z_shape, generator=stream(0, "sample"))
    return torch.cat([initializer(part, None) for part in z.split(250)])


# ---- all runs, tables, figure


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    problems: list[Problem] = []
    if "points" in options.only:
        problems.append(Points(options.points_steps))
    if "stacked" in options.only:
        problems.append(stacked(options.mnist, options.stacked_steps))
    for problem in problems:
        results = {}
        for arm in arms(problem, options.seeds, options.shares):
            results[arm] = kept(options.out / problem.name, problem, arm)
            print(f"<!-- {problem.name} {arm.name}: {json.dumps(results[arm])} -->", flush=True)
        print("\n" + table(problem, results, options.seeds, options.shares), flush=True)
    if options.figure:
        images.write(figure(problems, options.out, options.seeds[0], options.shares[0]), options.figure)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("mnist", type=Path, help="folder of MNIST")
    parser.add_argument("--points-steps", type=int, default=3000, help="of a plain training")
    parser.add_argument("--stacked-steps", type=int, default=250, help="of a plain training")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1], help="of the cooperative stage")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=("points", "stacked"), default=["points", "stacked"])
    parser.add_argument("--out", type=Path, default=Path("modes"))
    parser.add_argument("--figure", type=Path)
    return parser.parse_args()


def kept(folder: Path, problem: Problem, arm: Arm) -> Scores:
    """The scores of a run, made now or found in the folder; beside them some of what it made."""
    file = folder / f"{arm.name}.json"
    if not file.exists():
        scores, made = run(problem, arm)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(made[:1000].clone(), file.with_suffix(".pt"))
        file.write_text(json.dumps(scores))
    return json.loads(file.read_text())


def table(problem: Problem, results: dict[Arm, Scores], seeds: list[int], shares: list[float]) -> str:
    """Means over seeds with [lowest, highest]; differences of one seed's pairs with their 95 % t-interval."""
    keys = list(problem.score(problem.real(2, stream(0, "control"))))
    head = ["loss", "network", "way", *keys, "steps", "seconds", "cooperative stage"]
    rows = [head, ["---"] * len(head)]
    gains: dict[tuple[float, str], list[float]] = {(share, key): [] for share in shares for key in keys}
    for loss in problem.settings:
        for network in problem.networks:
            plain = [results[Arm(loss, network, seed, 0.0)] for seed in seeds]
            rows.append([loss, network, "plain", *summary(plain, keys), "–"])
            for share in shares:
                runs = [results[Arm(loss, network, seed, share)] for seed in seeds]
                rows.append([loss, network, f"CoopInit {share:.0%}", *summary(runs, keys), stage(runs)])
                pairs = {key: [b[key] - a[key] for a, b in zip(plain, runs, strict=True)] for key in keys}
                rows.append(["", "", "*its difference*", *map(interval, pairs.values()), "", "", ""])
                for key in keys:
                    gains[share, key] += pairs[key]
    for share in shares:
        pooled = [interval(gains[share, key]) for key in keys]
        rows.append(["all", "all", f"*difference of CoopInit {share:.0%}*", *pooled, "", "", ""])
    real = problem.score(problem.real(problem.samples, stream(0, "control")))
    rows.append(["–", "–", "real data", *(number(real[key]) for key in keys), "–", "–", "–"])
    return "\n".join([f"**{problem.name}**, {problem.samples:,} samples", "", *map(line, rows), ""])


def line(cells: list[str]) -> str:
    return "|" + "|".join(cells) + "|"


def summary(runs: list[Scores], keys: list[str]) -> list[str]:
    costs = [f"{mean(r[key] for r in runs):.0f}" for key in ("steps", "seconds")]
    return [*(spread([r[key] for r in runs]) for key in keys), *costs]


def stage(runs: list[Scores]) -> str:
    """Steps, seconds and share of the whole training's."""
    first, spent, whole = (mean(r[k] for r in runs) for k in ("first_steps", "first_seconds", "seconds"))
    return f"{first:.0f} steps, {spent:.1f} s ({spent / whole:.1%})"


def spread(values: list[float]) -> str:
    return f"{number(statistics.mean(values))} [{number(min(values))}, {number(max(values))}]"


def interval(values: list[float]) -> str:
    """Mean ± half of the 95 % t-interval."""
    if len(values) < 2:
        return f"{statistics.mean(values):+.3g}"
    half = T[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):+.3g} ± {half:{'.0f' if half >= 10 else '.2g'}}"


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.3g}"


def mean(values: Iterable[float]) -> float:
    return statistics.mean(list(values))


def figure(problems: list[Problem], folder: Path, seed: int, share: float) -> Tensor:
    """For each problem a row: real data, then plain and CoopInit for each loss and network."""
    rows = []
    for problem in problems:
        shown = [problem.real(1000, stream(0, "figure"))]
        for loss in problem.settings:
            for network in problem.networks:
                for way in (0.0, share):
                    file = folder / problem.name / f"{Arm(loss, network, seed, way).name}.pt"
                    shown.append(torch.load(file, weights_only=True))
        rows.append(torch.stack([picture(x) for x in shown]))
    return images.grid(rows)


def picture(x: Tensor, side: int = 122) -> Tensor:
    """Points [N, 2, 1, 1] as dots, pictures [N, 3, 28, 28] as 4 x 4 of them: [3, side, side]."""
    if x.shape[-1] > 1:
        return images.grid(list(x[:16].view(4, 4, *x.shape[1:])))
    place = ((x.flatten(1) + 1) / 2 * (side - 1)).round().long()
    dots = torch.ones(side, side)
    dots[place[:, 1], place[:, 0]] = -1
    return dots.expand(3, -1, -1)


if __name__ == "__main__":
    main()
