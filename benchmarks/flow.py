"""What a conditional flow costs, against FrEIA and zuko with the same weights.

    pip install FrEIA zuko
    python benchmarks/flow.py [--cases 24x1448x2x268x16 12x256x1x128x64] [--rounds 5]

A case: blocks x width x depth x numbers x batch. The peers have the flow's own weights, and all must tell
the same log-likelihoods and draw the same samples before anything is timed. Time is taken as in langevin.py.
Freed memory stays with the process, for all alike, as in redraft's commands; --fresh leaves it to the system.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import math
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from langevin import Work, interleaved, machine, ratio
from torch import Tensor, nn

from redraft.core.memory import keep_freed_memory
from redraft.core.types import Spec
from redraft.nets.couplings import SLOPE, Coupling, FixedShuffle, Perceptron
from redraft.nets.flow import Flow, FlowConfig

CASES = ("24x1448x2x268x16", "6x1448x2x268x64", "12x256x1x128x64")


class Subject(NamedTuple):
    """A library's flow of the vectors x [N, d] under h [N, E]."""

    likelihood: Callable[[Tensor, Tensor], Tensor]  # x, h -> log p(x | h) [N]
    sample: Callable[[Tensor, Tensor], Tensor]  # v, h -> x
    parameters: list[nn.Parameter]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fresh", action="store_true", help="give freed memory back, as the C library does")
    options = parser.parse_args()
    if not options.fresh:
        keep_freed_memory()
    torch.set_num_threads(1)
    ceiling = machine()
    for case in options.cases:
        measure(case, ceiling, options.rounds)


def measure(case: str, ceiling: float, rounds: int) -> None:
    blocks, width, depth, d, batch = map(int, case.split("x"))
    torch.manual_seed(0)
    spec = Spec(size=1, channels=d, condition="vector", width=d)
    flow = Flow(spec, FlowConfig(blocks=blocks, width=width, depth=depth, embed=d))
    for name, p in flow.named_parameters():
        if ".last." in name:
            nn.init.uniform_(p, -(width**-0.5), width**-0.5)
    x, h = torch.randn(batch, d), torch.randn(batch, d)
    subjects = {"redraft": ours(flow), "FrEIA": freia(flow), "zuko": zuko(flow)}
    print(check(case, subjects, x, h))
    flops = 2 * batch * sum(p.numel() for p in subjects["redraft"].parameters)
    table(f"{case}: forward and backward", learning(subjects, x, h), 3 * flops, ceiling, rounds)
    table(f"{case}: samples", drawing(subjects, x, h), flops, ceiling, rounds)
    table(f"{case}: training step", training(subjects, x, h), 3 * flops, ceiling, rounds)


# ---- the subjects


def ours(flow: Flow) -> Subject:
    """The blocks alone: H, which all would share, is left out of all."""
    (level,) = flow.levels

    def likelihood(x: Tensor, h: Tensor) -> Tensor:
        v, logdet = level.inverse(x, h, lambda layer, y: None)
        return normal(v) + logdet

    return Subject(likelihood, lambda v, h: level(v, h)[0], list(level.parameters()))


def freia(flow: Flow) -> Subject:
    """ActNorm, GLOW coupling blocks, permutations; x1, which FrEIA moves first, is the flow's second half."""
    from FrEIA.framework import SequenceINN
    from FrEIA.modules import ActNorm, GLOWCouplingBlock, PermuteRandom

    d = flow.z_shape[0]
    net = SequenceINN(d)
    swap = torch.cat([torch.arange(d // 2, d), torch.arange(d // 2)])
    for coupling, order, networks in parts(flow):
        net.append(ActNorm)
        net[-1].init_on_next_batch = False
        subnets, alpha = iter(networks[::-1]), coupling.move.alpha
        net.append(
            GLOWCouplingBlock,
            cond=0,
            cond_shape=(d,),
            subnet_constructor=lambda i, o, subnets=subnets: next(subnets),
            clamp=alpha,
            clamp_activation=lambda u, alpha=alpha: torch.tanh(u / alpha),
        )
        net.append(PermuteRandom)
        order = swap[order[swap]]
        net[-1].perm.data, net[-1].perm_inv.data = order, order.argsort()

    def likelihood(x: Tensor, h: Tensor) -> Tensor:
        v, logdet = net(x[:, swap], [h])
        return normal(v) + logdet

    def sample(v: Tensor, h: Tensor) -> Tensor:
        return net(v[:, swap], [h], rev=True, jac=False)[0][:, swap]

    return Subject(likelihood, sample, [p for p in net.parameters() if p.requires_grad])


def zuko(flow: Flow) -> Subject:
    """Element-wise affine, general coupling and permutation transforms; zuko tells t before s, in turns."""
    from zuko.distributions import DiagNormal
    from zuko.flows.coupling import GeneralCouplingTransform
    from zuko.lazy import Flow as LazyFlow
    from zuko.lazy import UnconditionalDistribution, UnconditionalTransform
    from zuko.transforms import MonotonicAffineTransform, PermutationTransform

    class Limited(MonotonicAffineTransform):
        """With the flow's limit of the scale."""

        def __init__(self, shift: Tensor, scale: Tensor, alpha: float) -> None:
            super().__init__(shift, scale)
            self.log_scale = alpha * torch.tanh(scale / alpha)
            self.scale = self.log_scale.exp()

    d, chain = flow.z_shape[0], []
    half = torch.arange(d) < d // 2
    turned = torch.arange(d).view(2, -1).flip(0).T.flatten()  # s..., t... -> t, s, t, s, ...
    for coupling, order, networks in parts(flow):
        chain.append(UnconditionalTransform(MonotonicAffineTransform, torch.zeros(d), torch.zeros(d)))
        for mask, network in zip((half, ~half), networks, strict=True):
            limited = partial(Limited, alpha=coupling.move.alpha)
            part = GeneralCouplingTransform(d, d, mask, limited, hidden_features=(1,))
            last, part.hyper = network[-1], network
            part.hyper[-1] = linear(last.weight[turned], last.bias[turned])
            chain.append(part)
        chain.append(UnconditionalTransform(PermutationTransform, order, buffer=True))
    base = UnconditionalDistribution(DiagNormal, torch.zeros(d), torch.ones(d), buffer=True)
    net = LazyFlow(chain, base)
    return Subject(
        lambda x, h: net(h).log_prob(x), lambda v, h: net(h).transform.inv(v), list(net.parameters())
    )


def parts(flow: Flow) -> Iterator[tuple[Coupling, Tensor, list[nn.Sequential]]]:
    """Of each block its coupling, its order, and its two networks as the libraries build them, of (x, h)."""
    (level,) = flow.levels
    told = iter(level.read.weight.chunk(2 * len(level.blocks)))
    for _, coupling, shuffle in level.blocks:
        assert isinstance(coupling, Coupling) and isinstance(shuffle, FixedShuffle)
        yield coupling, shuffle.order, [shared(net, next(told)) for net in coupling.nets]


def shared(net: Perceptron, told: Tensor) -> nn.Sequential:
    """The network with its first layer over x and h side by side; the rest are the very same weights."""
    first = linear(torch.cat([net.first.weight, told], 1), net.first.bias)
    layers = [first, *net.middle, net.last]
    return nn.Sequential(*[m for layer in layers for m in (layer, nn.LeakyReLU(SLOPE))][:-1])


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(1, 1)
    layer.weight, layer.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    return layer


def normal(v: Tensor) -> Tensor:
    return -(0.5 * v.square() + 0.5 * math.log(2 * math.pi)).sum(1)


# ---- equal first, then timed


def check(case: str, subjects: dict[str, Subject], x: Tensor, h: Tensor) -> str:
    """All tell the same likelihoods and draw the same samples, to float32."""
    with torch.no_grad():
        told = {name: (s.likelihood(x, h), s.sample(x, h)) for name, s in subjects.items()}
    (p, y), worst = told["redraft"], 0.0
    for name, (q, z) in told.items():
        error = max(
            ((p - q).abs() / p.abs().clamp_min(1)).max().item(),
            (y - z).abs().max().item() / y.abs().max().item(),
        )
        worst = max(worst, error)
        if not error < 1e-4:
            sys.exit(f"{case}: {name} is not the same flow: relative difference {error:.1e}")
    return f"{case}: likelihoods and samples differ by {worst:.1e} at most"


def learning(subjects: dict[str, Subject], x: Tensor, h: Tensor) -> dict[str, Work]:
    def work(subject: Subject) -> None:
        (-subject.likelihood(x, h).mean()).backward()
        for p in subject.parameters:
            p.grad = None

    return {name: partial(work, subject) for name, subject in subjects.items()}


def drawing(subjects: dict[str, Subject], v: Tensor, h: Tensor) -> dict[str, Work]:
    return {name: torch.no_grad()(partial(s.sample, v, h)) for name, s in subjects.items()}


def training(subjects: dict[str, Subject], x: Tensor, h: Tensor) -> dict[str, Work]:
    """With the Adam that each comes with: fused in redraft's trainer; the libraries leave it to torch."""

    def work(subject: Subject, adam: torch.optim.Adam) -> None:
        (-subject.likelihood(x, h).mean()).backward()
        adam.step()
        adam.zero_grad()

    def adam(subject: Subject, fused: bool) -> torch.optim.Adam:
        return torch.optim.Adam(subject.parameters, 1e-9, fused=fused)

    works: dict[str, Work] = {n: partial(work, s, adam(s, n == "redraft")) for n, s in subjects.items()}
    works["FrEIA, fused Adam"] = partial(work, subjects["FrEIA"], adam(subjects["FrEIA"], True))
    return works


def table(title: str, works: dict[str, Work], flops: int, ceiling: float, rounds: int) -> None:
    spent = interleaved(works, rounds)
    print(
        f"\n{title}, {flops / 1e9:.2f} GFLOP\n\n"
        "| | CPU ms | GFLOP/s | of the ceiling | redraft is x | least to greatest |\n|" + "---|" * 6
    )
    for name, times in spent.items():
        rate = flops / statistics.median(times) / 1e9
        gains = sorted(map(ratio, times, spent["redraft"]))
        print(
            f"| {name} | {1e3 * statistics.median(times):.1f} | {rate:.1f} | {rate / ceiling:.0%} "
            f"| {statistics.median(gains):.2f} | {gains[0]:.2f} to {gains[-1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
