"""What a training step of pix2pix costs, against the step as released.

    python benchmarks/pix2pix.py [--cases 256x1 64x8] [--rounds 7] [--losers]
    python benchmarks/pix2pix.py --repository FOLDER

A case is size x batch. The released step is a plain port (``released.py``); with ``--repository`` it runs the
networks of a checkout of github.com/junyanz/pytorch-CycleGAN-and-pix2pix (or of its sister, taesungp/
contrastive-unpaired-translation), which it imports from there.

Same weights to begin with, instance norm, no dropout, float32. Before anything is timed, every variant must
report the losses of the released step to 1e-4: in float64 over four steps, in float32 in the first (then
rounding grows tenfold a step, fused Adam's too: Adam's first moves are signs).

One thread, CPU time of the process, variants interleaved A B C C B A; a speed-up is the median of the rounds'
ratios, and beside it stand the least and the greatest (seven rounds: between them lies the median with 98 %).
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import statistics
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import released
import torch
from langevin import interleaved, machine, ratio
from released import Losses
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.pix2pix import Pix2Pix
from redraft.nets.blocks import parameters
from redraft.nets.pix2pix import PatchGAN, PublishedUNet, patchgan_state, unet_state
from redraft.nets.small_maps import Conv, ConvTranspose
from redraft.training import Train
from redraft.training.update import Update

Step = Callable[[Tensor, Tensor], Losses]
Make = Callable[[], Step]
Networks = tuple[nn.Module, nn.Module]  # a generator and a discriminator, as released
RELEASED = "as released"


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    public = released.checkout(options.repository) if options.repository else released.PORT
    ceiling = machine()
    for case in options.cases:
        size, batch = map(int, case.split("x"))
        nets = networks(public, size, options.width)
        c, x = torch.rand(2, batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
        title = f"{size} px, batch {batch}"
        flops, moved = needed(nets, c, x)
        print(f"{title}: {flops / 1e9:.1f} GFLOP and {moved / 1e9:.1f} GB of weights needed")
        doubles = (deepcopy(nets[0]).double(), deepcopy(nets[1]).double())
        check(title, variants(doubles, size, options.width), c.double(), x.double(), times=4)
        steps = variants(nets, size, options.width, options.losers)
        check(title, steps, c, x, times=1)
        report(title, steps, c, x, flops, ceiling, options.rounds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["256x1", "64x8"], help="size x batch")
    parser.add_argument("--width", type=int, default=64, help="filters of the first layer")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--losers", action="store_true", help="also what was tried and does not pay")
    parser.add_argument("--repository", type=Path, help="a checkout whose networks are the released ones")
    return parser.parse_args()


# ---- the variants: same weights


def networks(public: ModuleType | SimpleNamespace, size: int, width: int) -> Networks:
    """The released pair for this size, with weights as published."""

    def norm(channels: int) -> nn.Module:  # batch norm at batch 1, and no picture's business at batch 8
        return nn.InstanceNorm2d(channels, affine=True)

    torch.manual_seed(0)
    ours = PublishedUNet(Spec(size=size, channels=3, condition="picture", width=3), width=8)
    nets = (
        public.UnetGenerator(3, 3, len(ours.down), width, norm),
        public.NLayerDiscriminator(6, width, 3, norm),
    )
    for net in nets:
        for weight in net.parameters():
            if weight.ndim == 4:
                nn.init.normal_(weight, 0, 0.02)
    return nets


def variants(nets: Networks, size: int, width: int, losers: bool = False) -> dict[str, Make]:
    def theirs(fused: bool | None = None, layout: torch.memory_format = torch.preserve_format) -> Step:
        return released.Step(*(deepcopy(net).to(memory_format=layout) for net in nets), fused)

    def ours(without: dict[type[nn.Module], Callable[..., Tensor]]) -> Step:
        return Ours(nets, size, width, without)

    made: dict[str, Make] = {
        RELEASED: theirs,
        "as released, fused Adam": partial(theirs, True),
        "redraft, convolutions for all maps": partial(ours, {Conv: conv, ConvTranspose: transposed}),
        "redraft, torch's instance norm": partial(ours, {nn.GroupNorm: instance_norm}),
        "redraft": partial(ours, {}),
    }
    if losers:
        made["as released, fused Adam, channels-last"] = partial(theirs, True, torch.channels_last)
    return made


class Ours:
    """The method's step, through the trainer's ``update``; ``without``: layers that do as others do."""

    def __init__(
        self, nets: Networks, size: int, width: int, without: dict[type[nn.Module], Callable[..., Tensor]]
    ) -> None:
        spec = Spec(size=size, channels=3, condition="picture", width=3)
        generator, discriminator = PublishedUNet(spec, width), PatchGAN(spec, width)
        self.method = Pix2Pix(Pix2Pix.Config(), solver=discriminator, initializer=generator)
        generator.load_state_dict(unet_state(nets[0].state_dict()))
        discriminator.load_state_dict(patchgan_state(nets[1].state_dict(), 3))
        for layer in self.method.modules():
            if type(layer) in without:
                layer.forward = partial(without[type(layer)], layer)
        self.method.to(next(nets[0].parameters()).dtype)
        names = self.method.networks
        cfg = Train(lr=dict.fromkeys(names, 2e-4), betas=dict.fromkeys(names, (0.5, 0.999)), ema={})
        self.update, self.noise = Update(names, cfg), BatchNoise(stream(0))

    def __call__(self, c: Tensor, x: Tensor) -> Losses:
        told = self.method.step(Pair(c, x), self.update, self.noise)
        return told["loss_solver"].item(), told["loss_initializer"].item(), told["own"].item()


def conv(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return nn.Conv2d.forward(layer, x)


def transposed(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    return nn.ConvTranspose2d.forward(layer, x)


def instance_norm(layer: nn.GroupNorm, x: Tensor) -> Tensor:
    return F.instance_norm(x, weight=layer.weight, bias=layer.bias)


# ---- equal, and how fast


def check(title: str, steps: dict[str, Make], c: Tensor, x: Tensor, times: int) -> None:
    """Every variant reports the losses of the first, ``times`` steps long, to 1e-4 of each."""
    told: dict[str, Tensor] = {}
    for name, make in steps.items():
        step = make()
        told[name] = torch.tensor([step(c, x) for _ in range(times)], dtype=torch.float64)
    truth = next(iter(told.values()))
    errors = {name: ((losses - truth) / truth).abs().max().item() for name, losses in told.items()}
    for name, error in errors.items():
        if not error < 1e-4:  # a NaN fails too
            sys.exit(f"{title}: {name} is not the same step: losses differ by {error:.1e}")
    worst = max(errors.values())
    print(f"{title}, {c.dtype}: losses differ by {worst:.0e} at most; steps compared: {times}", flush=True)


def report(
    title: str, makes: dict[str, Make], c: Tensor, x: Tensor, flops: int, ceiling: float, rounds: int
) -> None:
    steps = {name: make() for name, make in makes.items()}
    spent = interleaved({name: partial(step, c, x) for name, step in steps.items()}, rounds)
    print(f"\n| {title} | CPU ms | GFLOP/s | of the ceiling | x released | least to greatest |")
    print("|---|---|---|---|---|---|")
    for name, times in spent.items():
        rate = flops / statistics.median(times) / 1e9
        gains = list(map(ratio, spent[RELEASED], times))
        print(
            f"| {name} | {1e3 * statistics.median(times):.0f} | {rate:.1f} | {rate / ceiling:.0%} "
            f"| {statistics.median(gains):.2f} | {min(gains):.2f} to {max(gains):.2f} |"
        )
    print(flush=True)


def needed(nets: Networks, c: Tensor, x: Tensor) -> tuple[int, int]:
    """FLOPs of a step, and the bytes of weights that it moves at the least.

    A weight of the generator is read forward and backward, its gradient written, and Adam reads four
    numbers and writes three; the discriminator's, at 5 %, and the maps are not counted.
    """
    step = released.Step(*map(deepcopy, nets))
    with FlopCounterMode(display=False) as counter:
        step(c, x)
    return counter.get_total_flops(), 10 * 4 * parameters(nets[0])


if __name__ == "__main__":
    main()
