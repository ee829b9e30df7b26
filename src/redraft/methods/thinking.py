"""What every pair of solver and initializer does: draft, then think; and how a solver learns from both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from redraft import losses
from redraft.augment import diff_augment, draw, follow
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.method import Keep, Sample
from redraft.nets.parts import Code, Energy, Initializer, joined
from redraft.sampling.langevin import Chain, Langevin, langevin
from redraft.sampling.pool import Pool

LARGE = 2**16  # numbers in a kernel


@contextmanager
def still(net: nn.Module) -> Iterator[None]:
    """Inside, ``net`` takes no weight gradients."""
    trainable = [p for p in net.parameters() if p.requires_grad]
    for p in trainable:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in trainable:
            p.requires_grad_(True)


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """``still``, for a chain: it computes input gradients alone.

    Large kernels lie channels-last, as the chain's pictures do: otherwise they are turned round on every
    step, which costs more than the layout saves (docs/results/speed.md). Small ones gain nothing.
    """
    # a weight that FSDP shares out is no plain tensor, and is laid out by FSDP
    large = [p for p in net.parameters() if p.ndim == 4 and p.numel() >= LARGE and type(p.data) is Tensor]
    kernels = [(p, p.data) for p in large]
    with still(net):
        for p, data in kernels:
            p.data = data.contiguous(memory_format=torch.channels_last)
        try:
            yield
        finally:
            for p, data in kernels:
                p.data = data


def think(
    solver: Energy,
    x: Tensor,
    c: Tensor | None,
    cfg: Langevin,
    rng: Noise,
    *,
    keep: Keep,
    steps: int | None = None,
    trace: bool = False,
    u: Tensor | None = None,
) -> Chain:
    """The solver's Langevin chain from x [N, C, H, W]; the condition is encoded once.

    With draws ``u`` [N, 7] the chain follows E(T(x), T(c)), T the augmentation that they decide.
    """
    with frozen(solver):
        if u is None:
            energy = solver.given(c)
        else:
            plain = solver.given(follow(c, u))

            def energy(x: Tensor) -> Tensor:
                return plain(diff_augment(x, u))

        return langevin(energy, x, cfg, rng, steps=steps, keep=lambda x: keep(x, c), trace=trace)


def draft_and_refine(
    initializer: Initializer,
    solver: Energy,
    c: Tensor | None,
    n: int,
    cfg: Langevin,
    rng: Noise,
    *,
    keep: Keep,
    refine: int | None = None,
    trace: bool = False,
) -> Sample:
    """n drafts for the n conditions c, each refined by K = ``refine`` steps (None: ``cfg.steps``)."""
    with torch.no_grad():
        drafts = keep(initializer(rng.normal(n, *initializer.z_shape), c), c)
    chain = think(solver, drafts, c, cfg, rng, keep=keep, steps=refine, trace=trace)
    with torch.no_grad():
        energies = solver.given(c)(chain.x)
    first = chain.energies[0] if len(chain.energies) else energies
    return Sample(drafts, chain.x, first, energies, chain.trace, chain.energies)


class Learning(Protocol):
    """The settings of how a solver learns; every such method's ``Config`` has them."""

    @property
    def saturate(self) -> bool: ...  # losses.saturating in place of losses.likelihood
    @property
    def data_noise(self) -> float: ...  # sd of noise on real pictures
    @property
    def energy_magnitude(self) -> float: ...  # weight of losses.magnitude


class Learned(NamedTuple):
    loss: Tensor
    data: Tensor  # E(x, c) [N]
    model: Tensor  # E(x̃, c̃) [N]
    wrong: Tensor | None  # E(x, wrong c) [N]

    def values(self, chain: Chain) -> dict[str, Tensor]:
        """What a step tells the journal of the solver and of the chain from its drafts."""
        told = {
            "loss_solver": self.loss,
            "energy_data": self.data.mean(),
            "energy_draft": chain.energies[:1].mean(),
            "energy_refined": self.model.mean(),
            "move": chain.move,
            "drift": chain.drift,
        }
        return told if self.wrong is None else told | {"energy_wrong": self.wrong.mean()}


def learn(
    solver: Energy,
    real: Pair,
    made: Pair,
    cfg: Learning,
    rng: Noise,
    *,
    u: Tensor | None = None,
    wrong_conditions: float = 0.0,
) -> Learned:
    """The solver's loss on real pictures and on the model's samples ``made``, all scored in one pass.

    With draws ``u`` of the samples' augmentations, the real pictures get draws of their own. With
    ``wrong_conditions`` the real pictures under the batch's conditions rolled by one count, with that
    weight, as negatives (losses.mismatch); a solver that sees no condition has none.
    """
    c, x = real
    c_made, x_made = made
    x = x + cfg.data_noise * rng.normal(*x.shape)
    v = None if u is None else draw(len(x), rng)
    if u is not None and v is not None:
        x, c = diff_augment(x, v), follow(c, v)
        x_made, c_made = diff_augment(x_made, u), follow(c_made, u)
    right = solver.encode(c)
    pictures, codes = [x, x_made], [right, solver.encode(c_made)]
    if wrong_conditions and right:
        pictures.append(x)
        codes.append(mispaired(solver, real.condition, right, v))
    data, model, *wrong = solver(torch.cat(pictures), joined(*codes)).chunk(len(pictures))
    loss = (losses.saturating if cfg.saturate else losses.likelihood)(data, model)
    loss = loss + cfg.energy_magnitude * losses.magnitude(data, model, *wrong)
    for e in wrong:
        loss = loss + wrong_conditions * losses.mismatch(data, e, _wrong(real.condition))
    return Learned(loss, data, model, wrong[0] if wrong else None)


def mispaired(net: Energy, c: Tensor | None, code: Code, u: Tensor | None) -> Code:
    """The code of the conditions c rolled by one; ``code`` is that of c as the draws u (None: none) moved it.

    A wrong condition is moved as its picture is, not as its own was: else being moved alike would tell.
    """
    if c is None or u is None:
        return tuple(k.roll(1, 0) for k in code)
    return net.encode(follow(c.roll(1, 0), u))


def _wrong(c: Tensor | None) -> Tensor:
    """1 [N] where the batch's condition rolled by one is another one; two neighbours may share a category."""
    assert c is not None
    return (c != c.roll(1, 0)).flatten(1).any(1).float() if c.ndim > 1 else (c != c.roll(1, 0)).float()


def go_on(
    solver: Energy,
    made: Pair,
    pool: Pool,
    share: float,
    restart: float,
    cfg: Langevin,
    rng: Noise,
    *,
    keep: Keep,
    u: Tensor | None = None,
) -> Pair:
    """The model's samples, about a ``share`` of them replaced by chains of the pool that go on."""
    start, c, goes_on = pool.swap_in(made.target, made.condition, share, restart, rng)
    chain = think(solver, start, c, cfg, rng, keep=keep, u=u)
    x = torch.where(goes_on[:, None, None, None], chain.x, made.target)
    pool.put(x, c)
    return Pair(c, x)
