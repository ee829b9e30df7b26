"""How much of a picture does a fusion keep where it changes what the condition says?

    redraft train fashion --task none --method autoencoder --size 32 --minutes 4 --out ae
    redraft train fashion --task category --method fusion --size 32 --set target.latent=image:ae --out run
    python benchmarks/content_kept.py fashion run [RUN of another seed ...] [--figure FILE.png]

Held-out pictures x of condition a are given condition b with their residual kept, at several strengths.

category  a category becomes another one (--only Sneaker:"Ankle boot" one certain)
unpaired  a domain becomes the other
pictures  (edges, labels ...) x is an exemplar and b is another picture's condition

says b, says a   share of pictures in which a judge sees b, or a: categories by a classifier trained on real
                 training pictures, domains by ridge regression on features, drawings: F-measure of edges
content, layout  what a and b do not say: correlation over pictures, after all that a and b tell of either
                 side is taken out, of simple numbers of x and of what is made (content.py; their mean); of
                 8 x 8 px pictures. 1 = kept, 0 = any other picture of a would do
LPIPS, KID       to x (where $REDRAFT_LPIPS names its weights); to other held-out pictures of b

Means over runs, with the 95 % interval of resampled pictures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from content import Cells, content, over_runs, partners, strangers, table, value
from torch import Tensor
from torch.nn import functional as F

from redraft.app.check import open_folder
from redraft.app.examples import gathered, pairs, store
from redraft.app.model import Model
from redraft.core import images
from redraft.core.ridge import ridge
from redraft.core.rng import stream
from redraft.core.types import Pair
from redraft.data.home import cache_home
from redraft.evaluation.agreement import edge_agreement
from redraft.evaluation.distances import kid, nearest
from redraft.evaluation.features import FEATURES, Features
from redraft.evaluation.judge import agreement, train_judge
from redraft.evaluation.lpips import Lpips
from redraft.evaluation.residual import residual_test
from redraft.methods.fusion import GIVEN, WANTED, domain

CLOSELY = 100  # pictures that LPIPS looks at
SHOWN = 10  # pictures in the figure
Says = Callable[[Tensor, Tensor], Tensor]  # pictures, conditions -> [N], 1 = they show them


@dataclass(frozen=True)
class Case:
    """Pictures x [N, C, S, S] of conditions ``a`` that are to have conditions ``b``."""

    x: Tensor
    a: Tensor
    b: Tensor
    real: Pair  # other held-out pictures, of which KID is taken, and their conditions
    train: Pair
    says: Says

    @property
    def named(self) -> bool:
        return self.a.ndim == 1

    @property
    def known(self) -> Tensor:
        """[N, G]: what content is cleared of, which is a and b where they are names."""
        columns = [torch.ones(len(self.x), 1)]
        columns += [F.one_hot(c).float() for c in (self.a, self.b) if self.named]
        return torch.cat(columns, 1)


# ---- the three kinds of cases


def case(model: Model, data: str, f: Features, most: int, only: str) -> Case:
    """From the held-out and the training pictures of a folder, as the model's task has them."""
    folder, cpu = open_folder(data), torch.device("cpu")
    train, test = (gathered(pairs(store(folder, s, model.run), model.run, cpu, 0)) for s in ("train", "test"))
    if model.method.domains:
        return domains(train, test, f, most)
    assert test.condition is not None
    if test.condition.ndim == 1:
        made = categories(train, test, most)
        return limited(made, *(model.task.names.index(name) for name in only.split(":"))) if only else made
    c, x = test.condition[:most], test.target[:most]
    return Case(x, c, c[partners(len(c))], Pair(c, x), train, edge_agreement)


def categories(train: Pair, test: Pair, most: int) -> Case:
    """Every source is to become one other category, drawn at random."""
    c, x = test.condition, test.target
    assert c is not None and train.condition is not None
    classes = int(train.condition.max()) + 1
    judge = train_judge(train.target, train.condition, classes, cache=cache_home() / "judges")
    other = torch.randint(1, classes, (len(c),), generator=stream(0, "other"))
    rows, rest = torch.arange(len(c)) < most, torch.arange(len(c)) >= most
    b = (c + other)[rows] % classes
    return Case(x[rows], c[rows], b, Pair(c[rest], x[rest]), train, lambda x, c: agreement(judge, x, c))


def limited(whole: Case, a: int, b: int) -> Case:
    """Only sources of category ``a``, all of which are to become ``b``; KID to real ones of ``b``."""
    some, c = whole.a == a, whole.real.condition
    assert c is not None
    real = Pair(c[c == b], whole.real.target[c == b])
    return replace(whole, x=whole.x[some], a=whole.a[some], b=torch.full_like(whole.a[some], b), real=real)


def domains(train: Pair, test: Pair, f: Features, most: int) -> Case:
    """Sources are the given side's; domains are told by regression on features."""
    (given, wanted), x = train, test.condition
    assert given is not None and x is not None
    sides = Pair(torch.cat([domain(given, GIVEN), domain(wanted, WANTED)]), torch.cat([given, wanted]))
    scale = (h := f(sides.target)).std(0).clamp_min(1e-6)
    told = ridge(h / scale, F.one_hot(sides.condition, 2).double())
    x, real = x[:most], test.target
    return Case(
        x, domain(x, GIVEN), domain(x, WANTED), Pair(domain(real, WANTED), real), sides,
        lambda x, c: (told(f(x) / scale).argmax(1) == c).double(),
    )  # fmt: skip


# ---- what is made of them


@torch.no_grad()
def exchanged(model: Model, x: Tensor, a: Tensor, b: Tensor, strength: float) -> Tensor:
    """x with b in place of a, its residual kept."""
    method, bridge = model.method, model.bridge
    c_from, c_to = (a, b) if method.domains else (bridge.given(a), bridge.given(b))
    return bridge.view(method.exchange(bridge.wanted(x), c_from, c_to, strength)).clamp(-1, 1)


def residuals(model: Model, given: Case) -> list[str]:
    """Whether residuals of x tell of a; of domains those of both sides."""
    if not given.named:
        return []
    c, x = (torch.cat(both) for both in zip((given.a, given.x), given.real, strict=True))
    return residual_test(model.method.residual(model.bridge.wanted(x), c), c).lines()


@torch.no_grad()
def drawn(model: Model, b: Tensor, seed: int) -> Tensor:
    """Pictures of b with residuals drawn from N(0, I): nothing of x."""
    method, bridge = model.method, model.bridge
    v = torch.randn(len(b), *method.initializer.z_shape, generator=stream(seed, "drawn"))
    return bridge.view(method.from_residual(v, b if method.domains else bridge.given(b))).clamp(-1, 1)


def ways(given: Case, models: list[Model], strengths: list[float]) -> Iterator[tuple[str, list[Tensor]]]:
    """Each row of the table, and what it made in each run; controls make one thing."""
    for s in strengths:
        name = f"strength {s:g}" + (" (reconstruction)" if s == 0 else "")
        yield name, [exchanged(m, given.x, given.a, given.b, s) for m in models]
    yield "residual drawn, not kept", [drawn(m, given.b, i) for i, m in enumerate(models)]
    yield "x itself", [given.x]
    yield from ((name, [made]) for name, made in controls(given).items())


def controls(given: Case) -> dict[str, Tensor]:
    """Training pictures of b: any one, the nearest to x, their mean. Where b is a drawing all are b's."""
    c, x = given.train
    assert c is not None
    any_, near, mean = (torch.empty_like(given.x) for _ in range(3))
    for k in given.b.unique() if given.named else [None]:
        rows = given.b == k if given.named else torch.ones(len(given.x), dtype=torch.bool)
        real = x[c == k] if given.named else x
        any_[rows] = real[torch.randint(len(real), (int(rows.sum()),), generator=stream(0, "any"))]
        near[rows] = real[nearest(given.x[rows].flatten(1), real.flatten(1))[1]]
        mean[rows] = real.mean(0)
    if not given.named:
        any_ = given.x[partners(len(given.x))]  # whose drawing b is
    return {"real picture of b": any_, "nearest of b": near, "mean of b": mean}


# ---- how good it is


def measured(made: Tensor, given: Case, f: Features, real: Tensor, lpips: Lpips | None) -> Cells:
    """Of each measure a value a picture [N], or its products [N, K, 3]; and KID."""
    cells: Cells = {"says b": given.says(made, given.b), "says a": given.says(made, given.a)}
    cells |= content(made, given.x, given.known)
    if lpips is not None:
        cells["LPIPS"] = lpips(made[:CLOSELY], given.x[:CLOSELY])
    return cells | {f"KID ({f.name})": kid(f(made), real)}


# ---- all of it


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    models = [Model.from_pretrained(run, "cpu") for run in options.runs]
    f = FEATURES[options.features]()
    given, lpips = case(models[0], options.data, f, options.pictures, options.only), Lpips.find()
    real, rows = f(given.real.target), {}
    for model in models:
        print(*residuals(model, given), sep="\n", flush=True)
    for name, made in ways(given, models, options.strengths):
        cells = [measured(m, given, f, real, lpips) for m in made]
        rows[name] = over_runs(cells)
        each = [{k: round(value(v).item(), 3) for k, v in c.items() if isinstance(v, Tensor)} for c in cells]
        print(f"<!-- {name}: {json.dumps(each, ensure_ascii=False)} -->", flush=True)
        if name == "strength 1":
            other = strangers(given.a) if given.named else partners(len(given.x))
            apart = [content(m, given.x, given.known, other) for m in made]
            against = "another of a" if given.named else "b's own picture"
            rows[f"the same, against {against}"] = over_runs(apart)  # type: ignore[arg-type]
    print(f"\n{len(given.x)} pictures, {len(models)} runs\n\n{table(rows)}")
    if options.figure:
        images.write(figure(given, models[0], options.strengths), options.figure, {})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", help="what the runs were trained on")
    parser.add_argument("runs", nargs="+", help="fusions that differ by their seeds")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0, 0.5, 1, 1.5])
    parser.add_argument("--pictures", type=int, default=500, help="sources at most")
    parser.add_argument("--features", default="small", choices=FEATURES)
    parser.add_argument("--only", default="", help="A:B, one category into one other")
    parser.add_argument("--figure", type=Path)
    return parser.parse_args()


def figure(given: Case, model: Model, strengths: list[float]) -> Tensor:
    """Categories: a row a source, a column each category. Else a row each strength; first x."""
    x, a, b = given.x[:SHOWN], given.a[:SHOWN], given.b[:SHOWN]
    if given.named and not model.method.domains:
        made = [exchanged(model, x, a, torch.full_like(a, k), 1) for k in range(len(model.task.names))]
        return images.grid(list(torch.stack([x, *made], 1)), scale=2)
    made = [exchanged(model, x, a, b, s) for s in strengths]
    above = [] if given.named else [model.task.show(b, len(b))]
    return images.grid([x, *above, *made], scale=2)


if __name__ == "__main__":
    main()
