"""What is found from the training pictures before the first step; a resumed run finds the same."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from redraft.app.examples import See, gathered, held_back, pair_of, pairs
from redraft.app.represent import represent
from redraft.app.show import say
from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair
from redraft.data import Loader, Store
from redraft.methods.autoencoder import Autoencoder
from redraft.methods.fusion import Fusion
from redraft.nets.style import Style, field_means
from redraft.recipes.run import Built, Run
from redraft.spaces.bridge import Bridge
from redraft.training.best import Measure

STYLED = 50_000  # training pairs that the style is fitted to
MEASURED = 512  # held back from a fusion, that say which weights are kept
STARTED = 512  # that the start of a flow of maps is found from
REGRESSED = 2_000  # of vectors, which begin at a regression
PRINCIPAL = 2000  # that an autoencoder's principal components are found from
NUMBERS = 2**26  # in these pictures, at most


def seen(
    training: Store, run: Run, between: Bridge, device: torch.device, scales: dict[str, Tensor] | None = None
) -> See | None:
    """How experts see the training pictures; None where there are none.

    Their scales are fitted here, or those of the model or run that is gone on with.
    """
    if between.open:
        return None
    codes = represent(training, run, between, pictures_key(training), device)
    scales = scales or {}
    if scales.keys() != between.scales().keys():  # a prior's are of the target alone
        codes.fit(between, held_back(run, training))
    between.rescale(scales)
    return partial(codes.see, between)


def begin(method: Built, training: Store, run: Run, device: torch.device, see: See | None) -> None:
    """Start a flow's scales, an autoencoder's components, a style: closed forms of the training pictures."""
    if isinstance(method, Fusion):
        method.begin(_spread(training, run, device, see, REGRESSED if run.spec.size == 1 else STARTED))
    if isinstance(method, Autoencoder):
        method.begin(_spread(training, run, device, see, PRINCIPAL))
    style: Style | None = getattr(method, "style", None)
    if style is not None:
        every = pairs(training, run, device, run.seed, most=STYLED, see=see)
        thumbnails = gathered(Pair(field_means(c), field_means(x)) for c, x in every if c is not None)
        assert thumbnails.condition is not None
        said = style.fit(thumbnails.target.to(device), thumbnails.condition.to(device))
        say(f"Conditions explain {max(said, 0):.0%} of the pictures' colour and light; z chooses the rest.")


def _spread(training: Store, run: Run, device: torch.device, see: See | None, most: int) -> Pair:
    """Up to so many training pairs from all over the folder, in every process the same."""
    spec = run.task.spec
    left = held_back(run, training)
    n = len(training) - (len(training) // left if left else 0)
    n = max(1, min(n, most, NUMBERS // (spec.channels * spec.size**2)))
    raw = Loader(training, batch=n, seed=run.seed, size=spec.size, leave_out=left).batch(0)
    return pair_of(raw, run, BatchNoise(stream(run.seed, "begin")), device, see)


def measured(
    method: Built, training: Store, run: Run, device: torch.device, see: See | None
) -> Measure | None:
    """How well a fusion tells training pictures that are held back from it; None for other methods."""
    left = held_back(run, training)
    if not isinstance(method, Fusion) or not method.cfg.hold_back:
        return None
    if not left:
        say(f"These are too few to hold every {method.cfg.hold_back}th back: the weights kept are the last.")
        return None
    every = pairs(training, run, device, run.seed, most=MEASURED, see=see, every=left)
    parts = [Pair(c, x) for c, x in every]
    weights = [len(p.target) for p in parts]

    def measure(fusion: nn.Module) -> float:
        nats = [float(cast(Fusion, fusion).untold(p).mean()) for p in parts]
        return sum(w * n for w, n in zip(weights, nats, strict=True)) / sum(weights)

    return measure


def pictures_key(data: Store) -> str:
    """Tells whether a run goes on with the pictures that it began with: their names and a few of them."""
    told = (data.names, data.target.shape, *([data.captions] if data.captions else []))
    digest = hashlib.blake2b(repr(told).encode("utf-8", "surrogateescape"))
    for arrays in (data.target, data.condition):
        if arrays is not None:
            digest.update(arrays[:: max(1, len(arrays) // 64)].tobytes())
    return digest.hexdigest()[:16]
