"""What the Langevin chain costs, against the peers' way and against the machine.

    python benchmarks/langevin.py [--size 64] [--batch 16] [--steps 5] [--rounds 7]

One thread, CPU time of the process, variants interleaved A B C C B A; a speed-up is the median of
the rounds' ratios. Before anything is timed, one step of each variant must agree with the others.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from peers import Concatenated, LabelDescriptor, NaiveCCoopNets, input_only, naive
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.thinking import think
from redraft.nets.classic import Descriptor, classic_initializer, classic_solver
from redraft.sampling.langevin import Langevin

Work = Callable[[], object]
Chain = Callable[[Tensor, int, float, float], Tensor]  # (x, steps, delta, s) -> x
NOISE = BatchNoise(stream(0))


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.peak:
        return print(peak(options.size, options.batch, options.peak))
    ceiling = machine()
    for title, chains, x, flops in (
        picture_chains(options.size, options.batch),
        category_chains(2 * options.batch),
    ):
        check(title, chains, x)
        works = {name: partial(chain, x, options.steps, 0.002, 0.016) for name, chain in chains.items()}
        report(f"{title}, {options.steps} steps", works, flops * options.steps, ceiling, options.rounds)
    whole_step(options.size, max(options.batch // 2, 2), 4 * options.steps, ceiling, options.rounds)
    growth(options.size, options.batch, options.steps)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="side of a picture, px")
    parser.add_argument("--batch", type=int, default=16, help="pictures (category: twice, whole step: half)")
    parser.add_argument("--steps", type=int, default=5, help="Langevin steps (whole step: four times)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peak", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- the three variants of a chain: same weights, same pictures


def picture_chains(size: int, batch: int) -> tuple[str, dict[str, Chain], Tensor, int]:
    """CCoopNets' picture-to-picture descriptor."""
    solver = scaled(classic_solver(Spec(size=size, channels=3, condition="picture", width=3)))
    peer = Concatenated(solver)
    c, x = torch.rand(2, batch, 3, size, size) * 2 - 1
    chains: dict[str, Chain] = {
        "naive (.backward)": partial(naive, peer_energy(peer, c)),
        "input gradient only": partial(input_only, peer_energy(peer, c)),
        "redraft": partial(ours, solver, c),
    }
    return f"picture to picture, {size} px, batch {batch}", chains, x, work_of_a_step(solver, c, x)


def category_chains(batch: int) -> tuple[str, dict[str, Chain], Tensor, int]:
    """CCoopNets' 28 px category descriptor; the peers decode the label again on every step."""
    solver = scaled(LabelDescriptor())
    c, x = torch.randint(10, (batch,)), torch.rand(batch, 1, 28, 28) * 2 - 1

    def energy(x: Tensor) -> Tensor:
        return solver(x, solver.encode(c))

    chains: dict[str, Chain] = {
        "naive (.backward)": partial(naive, energy),
        "input gradient only": partial(input_only, energy),
        "redraft": partial(ours, solver, c),
    }
    return f"category, 28 px, batch {batch}", chains, x, work_of_a_step(solver, c, x)


def peer_energy(peer: nn.Module, c: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: peer(x, c.to(x.dtype))


def ours(solver: nn.Module, c: Tensor, x: Tensor, steps: int, delta: float, s: float) -> Tensor:
    cfg = Langevin(steps=steps, delta=delta, noise=0.0, reference=s, drift_clip=None, clamp=False, smooth=0)
    return think(solver, x, c, cfg, NOISE, keep=lambda x, c: x).x


def scaled(net: nn.Module) -> nn.Module:
    """Weights with a useful gain, so that gradients are large enough to disagree about."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            fan = layer.weight[0].numel() if isinstance(layer, nn.Conv2d) else layer.weight[:, 0].numel() / 4
            nn.init.normal_(layer.weight, 0, (2 / fan) ** 0.5)
    return net


def work_of_a_step(solver: Descriptor | LabelDescriptor, c: Tensor, x: Tensor) -> int:
    """FLOPs that one step needs: a forward pass, and a backward pass to the picture alone."""
    frozen = deepcopy(solver).requires_grad_(False)
    energy, x = frozen.given(c), x.clone().requires_grad_()
    with FlopCounterMode(display=False) as counter:
        energy(x).sum().backward()
    return counter.get_total_flops()


def check(title: str, chains: dict[str, Chain], x: Tensor) -> None:
    """One step of every variant makes the same move, to 1e-4; the gradient, not the prior, makes it.

    The largest part of a move may differ by more: where rounding turns the sign of one number before
    a leaky ReLU, that picture's gradient has a kink. So pictures are compared, and the median counts.
    """
    moves = {name: (chain(x, 1, 0.05, 1e6) - x).flatten(1) for name, chain in chains.items()}
    reference = next(iter(moves.values()))
    for name, move in moves.items():
        error = ((move - reference).norm(dim=1) / reference.norm(dim=1)).median().item()
        if not error < 1e-4:  # a NaN fails too
            sys.exit(f"{title}: {name} does not make the same step: relative difference {error:.1e}")


# ---- a whole training step


def whole_step(size: int, batch: int, steps: int, ceiling: float, rounds: int) -> None:
    spec = Spec(size=size, channels=3, condition="picture", width=3)
    solver, initializer = classic_solver(spec), classic_initializer(spec)
    c, x = torch.rand(2, batch, 3, size, size) * 2 - 1
    z = torch.randn(batch, 128)
    chain = Langevin(
        steps=steps, delta=0.002, noise=0.0, reference=0.016, drift_clip=None, clamp=False, smooth=0
    )
    cfg = CCoopNets.Config(langevin=chain, data_noise=0.0, wrong_conditions=0.0, energy_magnitude=0.0)

    chains = (naive, input_only)
    peer, faithful = (NaiveCCoopNets(Concatenated(solver), deepcopy(initializer), f) for f in chains)
    method = CCoopNets(cfg, solver=solver, initializer=initializer)
    update, pair = Adams(method), Pair(c, x)
    works: dict[str, Work] = {
        "naive (.backward)": lambda: peer.step(c, x, z, steps),
        "input gradient only": lambda: faithful.step(c, x, z, steps),
        "redraft": lambda: method.step(pair, update, Replay(z)),
    }
    updates = CCoopNets(
        replace(cfg, langevin=replace(chain, steps=0)), solver=solver, initializer=initializer
    )
    with FlopCounterMode(display=False) as counter:
        updates.step(pair, lambda net, loss: loss.backward(inputs=list(net.parameters())), Replay(z))
    method.zero_grad()
    flops = counter.get_total_flops() + steps * work_of_a_step(solver, c, x)

    for work in works.values():
        work()
    moved = torch.cat([(a - b).flatten() for a, b in weights(peer, method)]).abs()
    if not moved.median() < 1e-4 * 2e-4:  # Adam's first step is a sign: rounding flips a few, not the median
        sys.exit(f"the weights differ after one step: median {moved.median():.1e}")
    report(f"whole CCoopNets step, {size} px, batch {batch}, K = {steps}", works, flops, ceiling, rounds)


class Adams:
    """The trainer's ``update``, bare: backward into one net, fused Adam."""

    def __init__(self, method: CCoopNets) -> None:
        lr = {method.solver: 3e-3, method.initializer: 2e-4}
        self.adams = {
            net: torch.optim.Adam(net.parameters(), rate, betas=(0.5, 0.999), fused=True)
            for net, rate in lr.items()
        }

    def __call__(self, net: nn.Module, loss: Tensor) -> None:
        loss.backward(inputs=list(net.parameters()))
        self.adams[net].step()
        self.adams[net].zero_grad(set_to_none=True)


class Replay:
    """The noise of one step: z, the same for every variant; the papers' released chain draws nothing."""

    def __init__(self, z: Tensor) -> None:
        self.z = z

    def normal(self, n: int, *shape: int) -> Tensor:
        return self.z if shape == self.z.shape[1:] else torch.zeros(n, *shape)


def weights(peer: NaiveCCoopNets, method: CCoopNets) -> list[tuple[Tensor, Tensor]]:
    pairs = zip(peer.initializer.parameters(), method.initializer.parameters(), strict=True)
    convs = zip(peer.solver.convs[1:], method.solver.convs[1:], strict=True)
    return [*pairs, *((a.weight, b.weight) for a, b in convs)]


# ---- the machine, the clock, the table


def machine() -> float:
    """The most GFLOP/s that this core has shown on a matrix product and on a convolution."""
    a, b = torch.randn(2, 1024, 1024)
    product = 2 * 1024**3 / seconds(lambda: a @ b, 5) / 1e9
    x = torch.randn(16, 128, 32, 32).contiguous(memory_format=torch.channels_last)
    conv = nn.Conv2d(128, 128, 3, 1, 1).to(memory_format=torch.channels_last).requires_grad_(False)
    convolution = 2 * x.numel() * 128 * 9 / seconds(lambda: conv(x), 5) / 1e9
    print(f"one thread: matrix product {product:.0f} GFLOP/s, 3x3 convolution {convolution:.0f} GFLOP/s\n")
    return max(product, convolution)


def seconds(work: Work, times: int) -> float:
    """The least CPU time of ``times`` runs, after one that warms up."""
    work()
    return min(once(work) for _ in range(times))


def once(work: Work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def interleaved(works: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """CPU time of each, a round being A B C C B A, so that a drift of the machine meets all alike."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        there = {name: once(work) for name, work in works.items()}
        for name in reversed(works):
            spent[name].append((there[name] + once(works[name])) / 2)
    return spent


def report(title: str, works: dict[str, Work], flops: int, ceiling: float, rounds: int) -> None:
    spent = interleaved(works, rounds)
    first, second, _ = spent
    print(f"{title}: {flops / 1e9:.1f} GFLOP needed, ceiling {ceiling:.0f} GFLOP/s")
    print(f"| | CPU ms | GFLOP/s | of the ceiling | x {first} | x {second} |\n|---|---|---|---|---|---|")
    for name, times in spent.items():
        rate = flops / statistics.median(times) / 1e9
        gains = [statistics.median(map(ratio, spent[other], times)) for other in (first, second)]
        print(
            f"| {name} | {1e3 * statistics.median(times):.0f} | {rate:.1f} | {rate / ceiling:.0%} "
            f"| {gains[0]:.2f} | {gains[1]:.2f} |"
        )
    print(flush=True)


def ratio(a: float, b: float) -> float:
    return a / b


def growth(size: int, batch: int, steps: int) -> None:
    """Cost of more steps and of more pictures, and the memory that more steps take."""
    spec = Spec(size=size, channels=3, condition="picture", width=3)
    solver, (c, x) = classic_solver(spec), torch.rand(2, 4 * batch, 3, size, size) * 2 - 1
    print("| pictures | steps | CPU ms a picture and step |\n|---|---|---|")
    for n, k in [(1, 1), (1, 2), (1, 4), (2, 1), (4, 1)]:
        n, k = n * batch, k * steps
        spent = seconds(partial(ours, solver, c[:n], x[:n], k, 0.002, 0.016), 3)
        print(f"| {n} | {k} | {1e3 * spent / (n * k):.2f} |", flush=True)
    print()
    for k in (steps, 8 * steps):
        command = [sys.executable, __file__, f"--size={size}", f"--batch={batch}", f"--peak={k}"]
        held = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        print(f"peak memory of a process that runs {k} steps on {batch} pictures: {held} MiB", flush=True)


def peak(size: int, batch: int, steps: int) -> int:
    """The most memory that a process ever held in which one chain ran, MiB."""
    solver = classic_solver(Spec(size=size, channels=3, condition="picture", width=3))
    c, x = torch.rand(2, batch, 3, size, size)
    ours(solver, c, x, steps, 0.002, 0.016)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(held / (2**20 if sys.platform == "darwin" else 2**10))


if __name__ == "__main__":
    main()
