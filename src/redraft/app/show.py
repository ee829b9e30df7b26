"""How the use cases speak and show what happened."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.app.made import Made
from redraft.core import images
from redraft.core.errors import RedraftError
from redraft.spaces.pixels import match_channels
from redraft.training.processes import hand_round, rank


def say(line: str) -> None:
    """One line to the user, from the first process alone; when nobody listens any more, work goes on."""
    if rank() == 0:
        try:
            print(line, flush=True)
        except BrokenPipeError:
            stop_talking()


def stop_talking() -> None:
    """The reader of our output has gone, as in ``| head``: what is said from now on goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_first(act: Callable[[], object]) -> None:
    """Process 0 does it while the others wait; its error reaches all, so that none waits for ever."""
    failed: Exception | None = None
    if rank() == 0:
        try:
            act()
        except (RedraftError, OSError) as error:
            failed = error
    told = hand_round({"failed": failed})
    if told and told["failed"] is not None:
        raise told["failed"]


def write_trace(made: Made, i: int, stem: Path) -> None:
    """Picture i's chain as STEM.trace.png (animated), STEM.change.png (heat map), STEM.energy.svg (curve)."""
    from redraft.evaluation.plots import line_plot

    frames = [step[i : i + 1] for step in made.trace]
    write_film(frames, stem.with_suffix(".trace.png"))
    images.write(heat(made.drafts[i], made.images[i]), stem.with_suffix(".change.png"), {})
    energies = [*(made.trace_energies[:, i].tolist() if made.trace_energies is not None else [])]
    energies.append(float(made.energies[i]))
    curve = line_plot(
        {"energy": list(enumerate(energies))}, x="Langevin step", y="energy, lower = more like the data"
    )
    stem.with_suffix(".energy.svg").write_text(curve)


def write_film(frames: list[Tensor], path: Path, side: int = 192, milliseconds: int = 120) -> None:
    """An animated PNG of pictures [1, C, H, W], enlarged without smoothing, its last frame held."""
    from PIL import Image

    enlarged = [enlarge(match_channels(f.clamp(-1, 1), 3), side) for f in frames]
    sheets = [Image.fromarray(images.to_array(f[0])) for f in enlarged]
    times = [milliseconds] * (len(sheets) - 1) + [1500]
    sheets[0].save(path, save_all=True, append_images=sheets[1:], duration=times, loop=0, default_image=False)


def enlarge(x: Tensor, side: int) -> Tensor:
    """Repeat pixels until the picture is about ``side`` wide."""
    factor = max(1, side // x.shape[-1])
    return F.interpolate(x, scale_factor=factor, mode="nearest") if factor > 1 else x


def heat(draft: Tensor, refined: Tensor) -> Tensor:
    """What the solver changed: [C, H, W] twice -> RGB [3, H, W] in [-1, 1], dark = nothing, bright = most."""
    change = (refined - draft).square().mean(0).sqrt()
    t = change / change.max().clamp_min(1e-6)
    return torch.stack([(3 * t).clamp(0, 1), (3 * t - 1).clamp(0, 1), (3 * t - 2).clamp(0, 1)]) * 2 - 1
