"""What diffusion costs, against diffusers' training script and pipeline with the same network.

    python benchmarks/diffusion.py [--cases 28x1x32 64x3x8] [--steps 8] [--rounds 7] [--losers]

A case: size x channels x batch, of ten categories; pictures are sampled in half a batch, with guidance.

The script's step: add_noise, the network, mse_loss, backward, clip_grad_norm_, AdamW and EMAModel as they
come; categories are in the captions' place. What is learnt is v, redraft's default in latents (in pixels it
is x_0, which the script does not know). The pipeline: its loop, with the solver that redraft uses.
Before anything is timed all tell the same losses (float32: the first; float64: three, without AdamW's decay
of weights) and make the same pictures, where guidance is plain. Time is taken as in langevin.py.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import torch
from flow import table
from langevin import machine
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from redraft.core.memory import keep_freed_memory
from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.denoising import Told, predictor
from redraft.methods.diffusion import Diffusion
from redraft.nets.denoiser import Denoiser, DenoiserConfig
from redraft.sampling.diffusion import Process, Schedule, sample
from redraft.training import Train
from redraft.training.update import Update

CATEGORIES = 10
W = 1.0  # of guidance
DEFAULT = "redraft, moments kept"
SETTINGS = Diffusion.Config(guidance=W)
PLAIN = Diffusion.Config(guidance=W, moments="none", bound=0)  # as the pipeline's
NETWORK = DenoiserConfig()
LR, BETAS, EMA, CLIP = 1e-3, (0.9, 0.99), 0.995, 1.0  # redraft's defaults for training

Make = Callable[[], Callable[[], float]]  # a step anew, which tells its loss


class Case(NamedTuple):
    """A denoiser that both ways copy, and pictures x [N, C, s, s] with their categories c [N]."""

    denoiser: Denoiser
    process: Process
    c: Tensor
    x: Tensor

    def double(self) -> Case:
        return self._replace(denoiser=deepcopy(self.denoiser).double(), x=self.x.double())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["28x1x32", "64x3x8"], help="size x channels x batch")
    parser.add_argument("--steps", type=int, default=8, help="of a picture")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--losers", action="store_true", help="also what was tried and does not pay")
    parser.add_argument("--fresh", action="store_true", help="give freed memory back, as the C library does")
    options = parser.parse_args()
    if not options.fresh:  # then kept for all alike, as in redraft's commands
        keep_freed_memory()
    torch.set_num_threads(1)
    ceiling = machine()
    for name in options.cases:
        case = prepared(*map(int, name.split("x")))
        steps = training(case, losers=options.losers)
        print(check(f"{name}, losses in float64", losses(training(case.double(), decay=0.0), 3), 1e-9))
        print(check(f"{name}, losses in float32", losses(steps, 1), 1e-5))
        ready = {way: make() for way, make in steps.items()}
        table(f"{name}: training step", ready, needed(ready["redraft"]), ceiling, options.rounds)
        half = case._replace(c=case.c[::2], x=case.x[::2])
        works = sampling(half, options.steps, losers=options.losers)
        made = {way: work() for way, work in works.items() if way != DEFAULT}
        print(check(f"{name}, pictures", made, 1e-4))
        title = f"{name}: {len(half.x)} pictures in {options.steps} steps"
        table(title, works, needed(works["redraft"]), ceiling, options.rounds)


def prepared(size: int, channels: int, batch: int, cfg: DenoiserConfig = NETWORK) -> Case:
    torch.manual_seed(0)
    spec = Spec(size=size, channels=channels, condition="category", width=CATEGORIES)
    kind, config, patch = cfg.of(spec)
    denoiser = Denoiser.of(kind, config, spec, patch=patch)
    nn.init.normal_(denoiser.null)
    x = torch.rand(batch, channels, size, size) * 2 - 1
    return Case(denoiser, Process(Schedule()), torch.arange(batch) % CATEGORIES, x)


# ---- a training step: the losses that both ways tell


def training(case: Case, decay: float = 1e-2, losers: bool = False) -> dict[str, Make]:
    makes: dict[str, Make] = {
        "diffusers' script": partial(Script, case, decay),
        "the same, fused AdamW, foreach EMA": partial(Script, case, decay, quick=True),
        "redraft": partial(Ours, case),
    }
    if losers:
        makes["redraft, channels-last"] = partial(Ours, case, torch.channels_last)
    return makes


class Bare(nn.Module):
    """The network of the denoiser as diffusers has it, and its words for the categories; the last: none."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.unet = deepcopy(denoiser.net)
        words = torch.cat([denoiser.words.weight, denoiser.null[0]]).detach().clone()
        self.words = nn.Embedding.from_pretrained(words, freeze=False)
        self.fold, self.unfold = nn.PixelUnshuffle(denoiser.patch), nn.PixelShuffle(denoiser.patch)


class Script:
    """One step of diffusers' train_text_to_image.py (v_prediction, use_ema); redraft's draws and rates."""

    def __init__(self, case: Case, decay: float, quick: bool = False) -> None:
        from diffusers import DDPMScheduler
        from diffusers.training_utils import EMAModel

        self.net, self.noise = Bare(case.denoiser), BatchNoise(stream(0))
        self.c, self.x, self.shape = case.c, self.net.fold(case.x), case.x.shape
        self.scheduler = DDPMScheduler(prediction_type="v_prediction")
        self.scheduler.alphas_cumprod = case.process.alpha.square().to(case.x.dtype)
        self.adam = torch.optim.AdamW(self.net.parameters(), LR, betas=BETAS, weight_decay=decay, fused=quick)
        self.average = EMAModel(self.net.parameters(), decay=EMA, foreach=quick)

    def __call__(self) -> float:
        n, steps = len(self.x), self.scheduler.config.num_train_timesteps
        c = torch.where(self.uniform(n) < SETTINGS.null, CATEGORIES, self.c)
        t = (self.uniform(n) * steps).long().clamp_max(steps - 1)
        eps = self.net.fold(self.noise.normal(*self.shape))
        noisy = self.scheduler.add_noise(self.x, eps, t)
        target = self.scheduler.get_velocity(self.x, eps, t)
        made = self.net.unet(noisy, t, encoder_hidden_states=self.net.words(c)[:, None]).sample
        loss = F.mse_loss(made, target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self.adam.step()
        self.adam.zero_grad()
        self.average.step(self.net.parameters())
        return loss.item()

    def uniform(self, n: int) -> Tensor:
        return torch.special.ndtr(self.noise.normal(n, 1)[:, 0])


class Ours:
    """The method's step, through the trainer's ``update``."""

    def __init__(self, case: Case, layout: torch.memory_format = torch.preserve_format) -> None:
        denoiser = deepcopy(case.denoiser).to(memory_format=layout)
        self.method = Diffusion(SETTINGS, initializer=denoiser, process=case.process)
        lr, betas, ema, clip = ({"initializer": value} for value in (LR, BETAS, EMA, CLIP))
        train = Train(lr=lr, betas=betas, ema=ema, clip=clip)
        self.update, self.noise = Update(self.method.networks, train), BatchNoise(stream(0))
        self.pair = Pair(case.c, case.x)

    def __call__(self) -> float:
        return self.method.step(self.pair, self.update, self.noise)["loss_initializer"].item()


# ---- pictures, from the same noise


def sampling(case: Case, steps: int, losers: bool = False) -> dict[str, Callable[[], Tensor]]:
    """Ways to the same pictures; but for ``DEFAULT``, which keeps the noise's moments and bounds x_0."""
    bare, start = Bare(case.denoiser), torch.randn(case.x.shape, generator=stream(1))
    flat = deepcopy(case.denoiser).to(memory_format=torch.channels_last)
    works = {
        "two passes": partial(pipeline, bare, case, start, steps, two=True),
        "diffusers' pipeline": partial(pipeline, bare, case, start, steps),
        "redraft": partial(ours, case.denoiser, case, start, steps, PLAIN),
        DEFAULT: partial(ours, case.denoiser, case, start, steps, SETTINGS),
    }
    if losers:
        works["redraft, channels-last"] = partial(ours, flat, case, start, steps, PLAIN)
    return works


@torch.no_grad()
def pipeline(bare: Bare, case: Case, start: Tensor, steps: int, two: bool = False) -> Tensor:
    """StableDiffusionPipeline's loop; ``two``: a pass with the condition and one without."""
    scheduler = case.process.scheduler("dpm++")
    scheduler.register_to_config(prediction_type="v_prediction")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # diffusers makes numpy's of torch's numbers
        scheduler.set_timesteps(timesteps=case.process.times("dpm++", 1000, steps))
    x, none = bare.fold(start), torch.full_like(case.c, CATEGORIES)
    both = bare.words(torch.cat([none, case.c]))[:, None]
    for t in scheduler.timesteps:
        if two:
            without, with_c = (bare.unet(x, t, h, return_dict=False)[0] for h in both.chunk(2))
        else:
            without, with_c = bare.unet(torch.cat([x] * 2), t, both, return_dict=False)[0].chunk(2)
        x = scheduler.step(without + (1 + W) * (with_c - without), t, x, return_dict=False)[0]
    return bare.unfold(x)


def ours(denoiser: Denoiser, case: Case, start: Tensor, steps: int, cfg: Diffusion.Config) -> Tensor:
    null, noise = Told(torch.full_like(case.c, -1)), BatchNoise(stream(0))  # dpm++ draws none
    predict = predictor(denoiser, case.process, cfg, Told(case.c), null)
    return sample(case.process, predict, start, noise, steps=steps, bound=cfg.bound)[0]


# ---- equal first, then timed


def losses(steps: dict[str, Make], times: int) -> dict[str, Tensor]:
    """What each tells in ``times`` steps from the weights of the case."""
    told = {name: [step() for step in times * [make()]] for name, make in steps.items()}
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in told.items()}


def check(title: str, told: dict[str, Tensor], limit: float) -> str:
    truth, worst = next(iter(told.values())), 0.0
    for name, value in told.items():
        error = ((value - truth).abs().max() / truth.abs().max()).item()
        worst = max(worst, error)
        if not error < limit:  # a NaN fails too
            sys.exit(f"{title}: {name} is not the same: relative difference {error:.1e}")
    return f"{title} differ by {worst:.0e} at most"


def needed(work: Callable[[], object]) -> int:
    """FLOPs."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


if __name__ == "__main__":
    main()
