"""Does a picture agree with its caption? Among many captions, an expert independent of the model finds it.

The expert is fitted on real training pictures: a ridge regression from features of a picture to the vector of
its caption, in closed form. It knows nothing of the model, nor of held-out pictures. Retrieval of the right
caption is what it is good for (as the R-precision of AttnGAN, arXiv:1711.10485, with an expert of our own).

Pictures that a model has learned by heart must not pass for better than real ones because the expert knows
them too: five regressions are fitted, each without a fifth of the training pictures, and a picture is judged
by the one that has not seen the training picture nearest to it (cross-fitting).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import RedraftError, UsageError
from redraft.core.ridge import ridge
from redraft.core.rng import stream
from redraft.evaluation.distances import nearest
from redraft.evaluation.evaluate import Agreement
from redraft.evaluation.features import EfficientNetLite, Features, SmallFeatures
from redraft.evaluation.fit import cached, content_key
from redraft.evaluation.table import Interval, ends, mean_interval, resample

FOLDS = 5
NEAR = 64  # principal components by which the nearest training picture is found
AT = (1, 5, 10)  # among the first how many captions the right one is looked for
SAME = 1e-4  # vectors nearer than this, at length 1, are one caption's


class Matcher(nn.Module):
    """Pictures -> where the vector of their caption would be. Made by ``fit_matcher``."""

    mean: Tensor
    scale: Tensor
    look: Tensor
    known: Tensor
    fold: Tensor
    middle: Tensor
    centre: Tensor
    weights: Tensor
    told: Tensor

    def __init__(self, features: Features, numbers: int, width: int, pictures: int) -> None:
        """``numbers`` of the features, ``width`` of the captions' vectors, training ``pictures``."""
        super().__init__()
        self.features, near = features, min(NEAR, numbers)
        for name, shape in (
            ("mean", (numbers,)),
            ("scale", (numbers,)),
            ("look", (numbers, near)),  # what of the features tells which training picture is nearest
            ("known", (pictures, near)),
            ("fold", (pictures,)),
            ("middle", (FOLDS, width)),
            ("centre", (FOLDS, numbers)),
            ("weights", (FOLDS, numbers, width)),
            ("told", ()),
        ):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [N, C, H, W] -> vectors [N, D] about the captions' middle, and by which regression [N]."""
        u = self.scaled(x)
        of = self.fold[nearest(u @ self.look, self.known)[1]].long()
        made = torch.zeros(len(u), self.middle.shape[1], dtype=u.dtype, device=u.device)
        for k in range(FOLDS):
            made[of == k] = (u[of == k] - self.centre[k]) @ self.weights[k]
        return made, of

    def scaled(self, x: Tensor) -> Tensor:
        """Features at one scale, [N, F] float64."""
        return (self.features(x).double() - self.mean) * self.scale

    def similarity(self, x: Tensor, text: Tensor) -> Tensor:
        """Cosine [N, M] of what pictures [N, ...] show and captions' vectors [M, D] say."""
        made, of = self(x)
        alike = made.new_zeros(len(made), len(text))
        for k in range(FOLDS):
            says = F.normalize(text.double(), dim=1) - self.middle[k]
            alike[of == k] = F.normalize(made[of == k], dim=1) @ F.normalize(says, dim=1).T
        return alike

    def ranks(self, x: Tensor, text_all: Tensor, right: Tensor) -> Tensor:
        """The place [N] of the right caption, ``text_all[right[i]]``, among all captions; 1 = found.

        text_all [M, D], right int64 [N]. Equal captions are one. Those that are as similar as the right one
        count half, so that an expert that sees nothing gets the middle place.
        """
        of, first = one_each(text_all)
        alike = self.similarity(x, text_all[first])
        own = of.to(right.device)[right].to(alike.device)[:, None]
        mine = alike.gather(1, own)
        ties = (alike - mine).abs() <= 1e-9
        return 0.5 + (alike > mine + 1e-9).sum(1).double() + 0.5 * ties.sum(1)

    def doubt(self, x: Tensor, text: Tensor) -> Tensor:
        """1 − cosine [N] of each picture and its own caption's vector [N, D]: an error without a truth."""
        made, of = self(x)
        return 1 - F.cosine_similarity(made, F.normalize(text.double(), dim=1) - self.middle[of], dim=1)


def best_features(device: torch.device | str = "cpu") -> Features:
    """What a matcher should see by: EfficientNet-Lite0 where it is installed, else the package's own."""
    try:
        return EfficientNetLite(device)
    except RedraftError:
        return SmallFeatures(device)


def fit_matcher(x: Tensor, text: Tensor, features: Features, cache: Path | None = None) -> Matcher:
    """Fit to real training pictures x [N, C, H, W] and the vectors of their captions text [N, D].

    The penalty is the one with the least error on pictures left out. ``cache`` is a folder to keep it in.
    """
    if len(x) < 2 * FOLDS:
        raise UsageError(
            f"{len(x)} training pictures are too few to fit an expert on captions to: give a folder with "
            f"{2 * FOLDS} or more beside the held-out ones."
        )
    matcher = Matcher(features, features(x[:1]).shape[1], text.shape[1], len(x)).to(x.device)
    name = "matcher-" + "".join(c if c.isalnum() else "-" for c in features.name)
    cached(matcher, cache, content_key(name, x, text, FOLDS), lambda: _fit(matcher, x, text))
    return matcher


def _fit(matcher: Matcher, x: Tensor, text: Tensor) -> None:
    seen = matcher.features(x).double()
    deviation = seen.std(0, correction=0)
    matcher.mean.copy_(seen.mean(0))
    matcher.scale.copy_(torch.where(deviation > 1e-9, 1 / deviation.clamp_min(1e-9), 0.0))
    u, unit = (seen - matcher.mean) * matcher.scale, F.normalize(text.double(), dim=1)
    matcher.look.copy_(torch.linalg.eigh(u.T @ u)[1][:, -matcher.look.shape[1] :])
    matcher.known.copy_(u @ matcher.look)
    order = torch.randperm(len(x), generator=stream(0, "matcher", len(x)))
    matcher.fold.copy_(order % FOLDS)
    for k in range(FOLDS):
        others = matcher.fold != k
        found = ridge(u[others], unit[others])
        matcher.middle[k], matcher.centre[k], matcher.weights[k] = found.mean_y, found.mean, found.weights
        matcher.told += found.told / FOLDS


def one_each(text: Tensor) -> tuple[Tensor, Tensor]:
    """Captions' vectors [M, D] -> which distinct one each is [M], and where these stand first [U]."""
    unit = F.normalize(text.double(), dim=1)
    near = torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist") <= SAME
    first = near.int().argmax(1)  # the first one that is as good as equal
    kept, of = first.unique(return_inverse=True)
    return of, kept


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """How often the right caption is found among ``captions``; ``chance`` is what guessing gives."""

    pictures: int
    captions: int
    at: dict[int, Interval]  # k -> share of pictures whose caption is among the first k
    median: Interval  # place of the right caption

    @property
    def chance(self) -> dict[int, float]:
        return {k: min(1.0, k / self.captions) for k in self.at}


def retrieval(ranks: Tensor, captions: int) -> Retrieval:
    """Of places [N] among ``captions`` distinct ones, with the bootstrap's 95 % intervals."""
    return Retrieval(
        pictures=len(ranks),
        captions=captions,
        at={k: mean_interval((ranks <= k).double()) for k in AT},
        median=middle_place(ranks),
    )


def middle_place(ranks: Tensor) -> Interval:
    """The median of places [N], with the bootstrap's 95 % interval."""
    ranks = ranks.double().cpu().flatten()
    draws = ranks[resample(len(ranks), 1000)].quantile(0.5, 1)
    return Interval(ranks.quantile(0.5).item(), *ends(draws))


def caption_agreements(matcher: Matcher, vectors: Callable[[Tensor], Tensor], reader: str) -> list[Agreement]:
    """Measures for ``evaluate``: ``vectors`` turns conditions (sentences as bytes) into text vectors [N, D].

    The captions that one is looked for among are those of the other pictures in the same row. ``reader`` is
    the name of the text expert that made the vectors: numbers by two of them are not to be compared.
    """
    found = _Places(matcher, vectors)
    says = (
        f"share whose caption an expert, fitted on real pictures and captions as {reader} reads them, finds "
        "among the first {} of the row's"
    )
    shares = [
        Agreement(name=f"caption@{k}", says=says.format(k), score=partial(_within, found, k)) for k in AT
    ]
    place = Agreement(
        name="caption's place",
        says="median place of the right caption among the row's, by the same expert; 1 = first",
        score=found,
        pool=middle_place,
        better="lower",
    )
    return [*shares, place]


def _within(found: _Places, k: int, x: Tensor, c: Tensor) -> Tensor:
    return (found(x, c) <= k).double()


class _Places:
    """Places of the right captions, computed once for the measures of one row."""

    def __init__(self, matcher: Matcher, vectors: Callable[[Tensor], Tensor]) -> None:
        self.matcher, self.vectors = matcher, vectors
        self.row: tuple[Tensor, Tensor] | None = None
        self.ranks = torch.empty(0)

    def __call__(self, x: Tensor, c: Tensor) -> Tensor:
        if self.row is None or self.row[0] is not x or self.row[1] is not c:
            distinct, of = c.unique(dim=0, return_inverse=True)
            self.ranks = self.matcher.ranks(x, self.vectors(distinct).to(x.device), of.to(x.device)).cpu()
            self.row = (x, c)
        return self.ranks
