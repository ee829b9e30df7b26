"""A flow against a plain MLP of equal size, from representations that keep more or less of a picture.

    redraft train PICTURES --task none --method autoencoder --minutes 4 --out ae
    python benchmarks/flow_against_mlp.py PICTURES image:ae [--out FOLDER] [--seeds 0 1 2] [--figure FILE.png]

Network fusion's paper (arXiv:2005.13580, Fig. 12) translates what layers of a segmentation network make of a
picture into an autoencoder's latent of the same picture, by a flow and by an MLP. Here the layers are those
of a classifier. A condition is an expert's name; NAME@16 keeps 16 principal components.

flow  method fusion: maximum likelihood of p(x | c); made is a sample for each condition
MLP   x = MLP(H(c)) by mean squared error; H, optimizer, batches are the flow's, weights as many within 2 %

Both begin at what the condition says by a straight line (nets/regression.py); with --plain they do not.

Conditions come from one half of the held-out pictures and distances are to the other half, so that a perfect
copy scores as real pictures do. Arms that are in FOLDER already are not made again. LPIPS is measured where
$REDRAFT_LPIPS names its weights. Seconds are the processor's, one thread.
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from modes import interval, line, number, spread
from plain_mlp import SquaredError, equal
from torch import Tensor

from redraft.core import images
from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair, Spec
from redraft.evaluation.distances import frechet, kid
from redraft.evaluation.diversity import variants_spread
from redraft.evaluation.features import FEATURES, Features
from redraft.evaluation.lpips import Lpips
from redraft.evaluation.paired import psnr
from redraft.methods.fusion import Fusion
from redraft.nets.blocks import parameters
from redraft.nets.experts import Expert
from redraft.nets.flow import Flow, FlowConfig
from redraft.spaces.bridge import Bridge
from redraft.training import Train, train

CONDITIONS = tuple(f"image:efficientnet-lite0{layer}" for layer in ("/2", "/4", "/4@16", "", "@16"))
WAYS = ("MLP", "flow")
BEGIN = 2000  # examples from which both begin
SHOWN = 6  # pictures in a row of the figure
CLOSELY = 100  # made pictures that slow measures look at: LPIPS, and all features but the first
Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all arms have in common."""

    steps: int = 250
    batch: int = 32
    lr: float = 1e-3
    blocks: int = 6
    width: int = 160
    line: bool = True  # whether both begin at a straight line

    def flow(self, numbers: int) -> FlowConfig:
        """h has as many numbers as the latent, as in the paper, so that it is no bottleneck."""
        return FlowConfig(blocks=self.blocks, width=self.width, embed=numbers, regression=self.line)

    def train(self) -> Train:
        return Train(
            steps=self.steps,
            batch=self.batch,
            lr={"initializer": self.lr},
            betas={"initializer": (0.5, 0.9)},
            ema={"initializer": 0.99},
            checkpoint_every=self.steps,
        )


# ---- what is translated into what


@dataclass(frozen=True)
class Translation:
    """From one condition to the latent, as networks see both."""

    spec: Spec
    train: Pair
    test: Pair  # of the sources
    view: Callable[[Tensor], Tensor]  # latents -> pictures


@dataclass(frozen=True)
class Photos:
    """Pictures [N, 3, S, S] in [-1, 1]: to learn from, to start from, to compare with."""

    train: Tensor
    sources: Tensor
    references: Tensor


def photos(place: str, size: int, learn: int, most: int) -> Photos:
    """At most ``learn`` to learn from; of the held-out in turns a source and a reference, ``most`` each."""
    from redraft.app.check import open_folder
    from redraft.data import build

    def split(name: str, most: int) -> Tensor:
        pixels = build(folder, name, size=size, channels=3).target
        rows = torch.arange(min(most, len(pixels))) * len(pixels) // min(most, len(pixels))
        return torch.from_numpy(pixels[rows.numpy()]).float() / 127.5 - 1

    folder = open_folder(place)
    test = split("test", 2 * most)
    return Photos(split("train", learn), test[::2], test[1::2][: len(test[::2])])


def translation(name: str, load: Callable[[str], Expert], target: Expert, given: Photos) -> Translation:
    """Through the bridge, as in every run of redraft: standardised, maps brought to its grid."""
    raw = Spec(size=given.train.shape[-1], channels=3, condition="picture", width=3)
    bridge = Bridge(raw, lambda c, n: c, condition=load(name), target=target)
    seen, wanted = bridge.see(given.train), bridge.look(given.train)
    bridge.fit(seen, wanted)
    learn = Pair(bridge.scaled_given(seen), bridge.scaled(wanted))
    test = Pair(bridge.given(given.sources), bridge.wanted(given.sources))
    return Translation(bridge.spec, learn, test, bridge.view)


def shortened(whole: Translation, keep: int) -> Translation:
    """The same with ``keep`` principal components of the condition."""
    assert whole.train.condition is not None
    shorter = components(whole.train.condition, keep)
    learn, test = (pair._replace(condition=shorter(pair.condition)) for pair in (whole.train, whole.test))
    return Translation(replace(whole.spec, condition="vector", width=keep, side=0), learn, test, whole.view)


def components(c: Tensor, keep: int) -> Callable[[Tensor], Tensor]:
    """[N, ...] -> ``keep`` principal components, each of standard deviation 1 over ``c``."""
    mean = c.flatten(1).mean(0)
    vectors = torch.linalg.eigh(torch.cov(c.flatten(1).T.double())).eigenvectors.flip(1)[:, :keep].to(c)
    scale = ((c.flatten(1) - mean) @ vectors).std(0)
    return lambda c: (c.flatten(1) - mean) @ vectors / scale


# ---- the two ways


def learn(way: str, given: Translation, cfg: Settings, seed: int) -> tuple[Tensor, Scores]:
    """Train one arm: latents of the sources' conditions [V, N, d, 1, 1] (a flow's twice), and what it cost.

    Arms of one seed see the same batches.
    """
    torch.manual_seed(seed)
    flow = Flow(given.spec, cfg.flow(given.spec.channels))
    c, x = given.train
    start = time.process_time()
    method: Fusion | SquaredError
    if way == "flow":
        method = Fusion(Fusion.Config(), initializer=flow)
    else:
        method = SquaredError(equal(given.spec, cfg.flow(given.spec.channels), flow))
    method.begin(Pair(c[few(len(x), BEGIN)], x[few(len(x), BEGIN)]))

    def batch_at(t: int) -> Pair:
        rows = torch.randint(len(x), (cfg.batch,), generator=stream(seed, "batch", t))
        return Pair(c[rows], x[rows])

    with tempfile.TemporaryDirectory() as folder:
        train(method, batch_at, cfg.train(), Path(folder), seed=seed)
    costs = {"seconds": time.process_time() - start, "weights": float(parameters(method))}
    c, x = given.test
    noises = [BatchNoise(stream(seed, "variant", v)) for v in range(2 if way == "flow" else 1)]
    made = torch.stack([method.generate(c, len(x), noise).images for noise in noises])
    if way == "flow":
        costs["nats"] = method.energy(x, c).mean().item()
    return made, costs


# ---- how good it is


class Measures:
    """Of pictures [N, 3, S, S] made of the sources; what is computed of references is computed once."""

    def __init__(self, given: Photos, features: list[Features]) -> None:
        self.given, self.features, self.lpips = given, features, Lpips.find()
        self.real = [f(given.references) for f in features]

    def __call__(self, made: Tensor) -> Scores:
        sources, scores = self.given.sources, {}
        for f, real in zip(self.features, self.real, strict=True):
            h = f(made if f is self.features[0] else made[few(len(made), CLOSELY)])
            if min(len(h), len(real)) > h.shape[1]:  # else a Fréchet distance is mostly bias
                scores[f"Fréchet ({f.name})"] = frechet(h, real)
            scores[f"KID ({f.name})"] = kid(h, real, rounds=1).value
        some = few(len(made), CLOSELY)
        if self.lpips is not None:
            scores["LPIPS"] = self.lpips(made[some], sources[some]).mean().item()
        scores["PSNR"] = psnr(made, sources).mean().item()
        return scores | {"detail": detail(made) / detail(self.given.references)}

    def diversity(self, first: Tensor, second: Tensor) -> float:
        """Distance of two pictures of one condition, over that of real pictures, by the first features."""
        f, real = self.features[0], self.real[0]
        return variants_spread(torch.stack([f(first), f(second)], 1), real).value


def detail(x: Tensor) -> float:
    """Mean difference of neighbouring pixels: what a mean of many pictures lacks."""
    return (x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()).item()


def explained(made: Tensor, wanted: Tensor) -> float:
    """Share of the latents' variance: 1 = all of it, 0 = as their mean; a sample of the true law from −1."""
    return (1 - (made - wanted).square().mean() / wanted.var(0).mean()).item()


# ---- all arms, tables, figure


@dataclass(frozen=True)
class Bench:
    """All that an arm needs but its own translation."""

    cfg: Settings
    measure: Measures
    out: Path

    def kept(self, name: str, way: str, seed: int, given: Callable[[], Translation]) -> Scores:
        """The scores of an arm, made now or found in the folder; beside them what it made."""
        file = self.file(name, way, seed, ".json")
        if not file.exists():
            scores, views = self.run(way, seed, given())
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(views, file.with_suffix(".pt"))
            file.write_text(json.dumps(scores))
        return json.loads(file.read_text())

    def file(self, name: str, way: str, seed: int, suffix: str) -> Path:
        return self.out / (f"{name}_{way}_{seed}{suffix}".replace("/", "-").replace(":", "-"))

    def run(self, way: str, seed: int, given: Translation) -> tuple[Scores, Tensor]:
        latents, costs = learn(way, given, self.cfg, seed)
        views = torch.stack([given.view(z) for z in latents])
        scores = {"explained": explained(latents[0], given.test.target), **self.measure(views[0])}
        scores["diversity"] = self.measure.diversity(views[0], views[-1])
        return scores | costs, views


def few(n: int, most: int = SHOWN) -> Tensor:
    """Rows of ``most`` pictures at most, evenly over all."""
    return torch.arange(min(n, most)) * n // min(n, most)


def main() -> None:
    from redraft.app import experts

    options = parse()
    torch.set_num_threads(1)
    given = photos(options.data, options.size, options.learn, options.pictures)
    target = experts.load(options.target)
    measure = Measures(given, [FEATURES[name]() for name in options.features])
    rows = controls(given, target, measure)
    bench = Bench(
        Settings(steps=options.steps, batch=options.batch, lr=options.lr, line=not options.plain),
        measure,
        options.out,
    )
    results: dict[tuple[str, str], list[Scores]] = {}
    whole = cache(lambda name: translation(name, experts.load, target, given))

    def of(condition: str) -> Translation:
        name, _, keep = condition.partition("@")
        return shortened(whole(name), int(keep)) if keep else whole(name)

    for seed in options.seeds:
        for name in options.conditions:
            for way in WAYS:
                scores = bench.kept(name, way, seed, partial(of, name))
                results.setdefault((name, way), []).append(scores)
                print(f"<!-- {name} {way} {seed}: {json.dumps(scores)} -->", flush=True)
    print("\n" + table(results, rows))
    if options.figure:
        truth = [given.sources[few(len(given.sources))]] if options.truth else []
        images.write(figure(bench, options.conditions, options.seeds[0], truth), options.figure, {})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", help="a folder of pictures, or an embedded set")
    parser.add_argument("target", help="an autoencoder with a vector latent: image:RUN")
    parser.add_argument("--conditions", nargs="+", default=CONDITIONS)
    parser.add_argument("--size", type=int, default=32, help="px")
    parser.add_argument("--learn", type=int, default=3000, help="training pictures at most")
    parser.add_argument("--pictures", type=int, default=400, help="sources at most, and as many references")
    parser.add_argument("--features", nargs="+", default=["small"], choices=FEATURES)
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--batch", type=int, default=Settings.batch)
    parser.add_argument("--lr", type=float, default=Settings.lr)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("flow_against_mlp"))
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--plain", action="store_true", help="both begin with random weights")
    parser.add_argument("--truth", action="store_true", help="the sources as the figure's first row")
    return parser.parse_args()


def controls(given: Photos, target: Expert, measure: Measures) -> dict[str, Scores]:
    """What no arm can pass, what a blind one makes, what real pictures score."""
    mean = given.train.mean(0, keepdim=True).expand_as(given.sources)
    return {
        "reconstruction": measure(target.decode(target(given.sources))),
        "mean picture": measure(mean),
        "real, another one": measure(given.sources.roll(1, 0)),
    }


def table(results: dict[tuple[str, str], list[Scores]], rows: dict[str, Scores]) -> str:
    """Means over seeds with [lowest, highest]; flow − MLP with the 95 % t-interval of the pairs."""
    keys = [k for k in next(iter(results.values()))[0] if k != "weights"]
    keys += [k for k in next(runs for (_, way), runs in results.items() if way == "flow")[0] if k == "nats"]
    lines = [["condition", "way", *keys, "weights"], ["---"] * (len(keys) + 3)]
    for name in dict.fromkeys(name for name, _ in results):
        mlp, flow = results[name, "MLP"], results[name, "flow"]
        for way, runs in (("MLP", mlp), ("flow", flow)):
            cells = [spread([r[k] for r in runs]) if k in runs[0] else "–" for k in keys]
            lines.append([name, way, *cells, f"{runs[0]['weights']:.0f}"])
        pairs = [[b[k] - a[k] for a, b in zip(mlp, flow, strict=True)] if k in mlp[0] else [] for k in keys]
        lines.append(["", "*flow − MLP*", *(interval(p) if p else "" for p in pairs), ""])
    for row, scores in rows.items():
        lines.append(["–", row, *(number(scores[k]) if k in scores else "–" for k in keys), "–"])
    return "\n".join(map(line, lines)) + "\n"


def figure(bench: Bench, conditions: list[str], seed: int, truth: list[Tensor]) -> Tensor:
    """For each condition a row of the MLP's and two of the flow's."""
    arms = [(name, way) for name in conditions for way in WAYS]
    made = [torch.load(bench.file(*arm, seed, ".pt"), weights_only=True) for arm in arms]
    rows = [variant[few(len(variant))] for variants in made for variant in variants]
    return images.grid([*truth, *rows], scale=2)


if __name__ == "__main__":
    main()
