"""What is said of a model before all else: what its latent space loses, and what its residual still tells."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from redraft.app.drawn import drawn, unlearnt
from redraft.app.examples import gathered, pairs
from redraft.app.model import Model
from redraft.app.told import RESIDUAL
from redraft.core.types import Pair
from redraft.evaluation.distances import kid
from redraft.evaluation.evaluate import Asked
from redraft.evaluation.paired import psnr
from redraft.evaluation.reconstruction import Reconstruction, reconstruction
from redraft.evaluation.residual import residual_test
from redraft.methods.autoencoder import Autoencoder
from redraft.methods.fusion import GIVEN, WANTED, Fusion, domain
from redraft.methods.method import Method
from redraft.spaces.bridge import Bridge

MOST = 500  # held-out pictures that are looked at
FEWEST = 20  # that a test of the residual takes


def sentences(model: Model, known: Pair, held_out: Pair, asked: Asked) -> tuple[str, ...]:
    """Findings that belong before all others; () for a model that works on pixels."""
    lost = losses(model, known.target, held_out.target[:MOST], asked)
    told = residuals(model, held_out, asked)
    bound = [lost.says()] if lost else [quality(model, held_out, asked)] if model.run.target.draws else []
    return (*bound, *told)


def quality(model: Model, held_out: Pair, asked: Asked) -> str:
    """How far what a target's generator draws is from held-out pictures, in a sentence."""
    run, see = model.run, asked.features
    few = gathered(pairs(drawn(run, model.bridge, "test"), run, torch.device("cpu"), run.seed)).target
    gap = kid(see(few), see(held_out.target))
    return (
        f"What {run.target.latent} draws is KID ({see.name}) {gap.value:.3g} [{gap.low:.3g}, {gap.high:.3g}] "
        "from held-out pictures; it cannot say where these lie among its own, and what is made through it "
        "can look no better than what it draws."
    )


def ceiling(between: Bridge, pictures: Tensor, most: int = 64) -> tuple[str, float] | None:
    """What a target's latent gives back of real pictures [N, C, S, S], as a sentence and its PSNR in dB."""
    if between.target is None or between.target.kind == "generator" or not len(pictures):
        return None
    x = pictures[:: -(-len(pictures) // most)]
    back = between.view(between.wanted(x.to(between.mean.device))).cpu()
    decibels = float(psnr(back, x).mean())
    name, n = between.target.name, between.components
    who, them = (
        (f"Of {name}'s latent {n} principal components give", "them") if n else (f"{name} gives", "it")
    )
    return (
        f"{who} held-out pictures back with PSNR {decibels:.1f} dB; what is made through {them} can be no "
        "truer.",
        decibels,
    )


def losses(model: Model, train: Tensor, test: Tensor, asked: Asked) -> Reconstruction | None:
    """Held-out pictures as they come back from the latent space; None where there is none to go to."""
    back = there_and_back(model)
    return None if back is None else reconstruction(back, train, test, asked.features, asked.distance)


def there_and_back(model: Model) -> Callable[[Tensor], Tensor] | None:
    """Pictures -> what comes back of them from the model's latent space; None where there is none."""
    device, bridge = model.device, model.bridge
    method = model.method
    if isinstance(method, Autoencoder):
        return lambda x: method.back(x.to(device)).cpu()
    if bridge.target is not None and bridge.target.kind == "autoencoder":
        return lambda x: bridge.view(bridge.wanted(x.to(device))).cpu()
    return None


def residuals(model: Model, held_out: Pair, asked: Asked) -> list[str]:
    """Whether a flow has learnt what the condition does not say; [] for other methods, or few pictures."""
    method, bridge = model.method, model.bridge
    if not isinstance(method, Fusion):
        return []
    raw, wanted = unlearnt(model.run, bridge) if model.run.target.draws else _looked_at(model, held_out)
    if len(wanted) < FEWEST:
        return []
    given = bridge.given(raw)
    if method.domains and given is not None:  # the condition is which side a picture is of: both are asked
        side = torch.cat([domain(given, GIVEN), domain(wanted, WANTED)])
        return residual_test(method.residual(torch.cat([given, wanted]), side), side).lines()
    v = method.residual(wanted, given).cpu()
    if raw is None or given is None:
        return residual_test(v, torch.zeros(len(v), 1)).lines()[:1]
    return residual_test(v, given.cpu() if given.ndim < 3 else asked.describe(raw).cpu()).lines()


def residual_norm(method: Method, bridge: Bridge, held_out: Pair) -> dict[str, float]:
    """E|v|²/d of held-out pictures under a fusion, 1 wanted; {} for other methods and for domains."""
    if not isinstance(method, Fusion) or method.domains or not bridge.spec.paired:
        return {}
    if bridge.target is not None and bridge.target.kind == "generator":
        return {}
    c, x = (None if t is None else t.to(bridge.mean.device) for t in held_out)
    assert x is not None
    v = method.residual(bridge.wanted(x), bridge.given(c))
    return {RESIDUAL: round(float(v.square().mean()), 4)}


def _looked_at(model: Model, held_out: Pair) -> Pair:
    """Raw conditions, and what the target's expert makes of the pictures, on the model's device."""
    c, x = (None if t is None else t[:MOST].to(model.device) for t in held_out)
    assert x is not None
    return Pair(c, model.bridge.wanted(x))
