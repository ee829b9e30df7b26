"""What every pair of solver and initializer does when it makes a picture: draft, then think."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from redraft.augment import diff_augment, follow
from redraft.core.rng import Noise
from redraft.methods.method import Keep, Sample
from redraft.nets.parts import Energy, Initializer
from redraft.sampling.langevin import Chain, Langevin, langevin

LARGE = 2**16  # numbers in a kernel


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Inside, ``net`` takes no weight gradients: a chain then computes input gradients alone.

    Its large kernels lie channels-last, as the chain's pictures do: otherwise they are turned round on
    every step, which costs more than the layout saves (docs/results/speed.md). Small ones gain nothing.
    """
    trainable = [p for p in net.parameters() if p.requires_grad]
    # a weight that FSDP shares out is no plain tensor, and is laid out by FSDP
    large = [p for p in net.parameters() if p.ndim == 4 and p.numel() >= LARGE and type(p.data) is Tensor]
    kernels = [(p, p.data) for p in large]
    for p in trainable:
        p.requires_grad_(False)
    for p, data in kernels:
        p.data = data.contiguous(memory_format=torch.channels_last)
    try:
        yield
    finally:
        for p, data in kernels:
            p.data = data
        for p in trainable:
            p.requires_grad_(True)


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
