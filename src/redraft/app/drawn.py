"""What a generator draws takes the place of pictures: it cannot say where given ones lie among its own.

As in Net2Net (arXiv:2005.13580, section 4.1) no real picture is seen: z is drawn, G(z) is the wanted picture,
and the condition is what the task makes of that, then the condition's expert. Held-out pictures stay real.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from redraft.app.examples import gathered, pairs
from redraft.app.represent import BATCH, draw, kept, kept_as, patiently
from redraft.app.show import say
from redraft.core.errors import UsageError
from redraft.core.types import Pair
from redraft.data import Store
from redraft.methods.method import Method
from redraft.nets.experts import Expert
from redraft.recipes.run import Run
from redraft.spaces.bridge import Bridge
from redraft.spaces.pixels import match_channels
from redraft.tasks import TASKS, Task
from redraft.tasks.category import CategoryToPicture
from redraft.tasks.colour import Colour
from redraft.tasks.edges import EdgesToPhoto
from redraft.tasks.recover import Recover
from redraft.tasks.text import TextToPicture
from redraft.tasks.upscale import Upscale

DRAWS = 10_000  # where nobody says how many
TESTED = 500  # draws beside them that nothing is learnt from


def number(expert: Expert, task: Task, wanted: int) -> int:
    """How many a run with this target draws; 0 for an autoencoder. UsageError where a task takes more."""
    if expert.kind != "generator":
        if wanted:
            raise UsageError(f"target.draws is for a generator, and {expert.name} is none: leave it out.")
        return 0
    if not _suits(expert, task):
        name = next(name for name, kind in TASKS.items() if kind is type(task))
        named = ", and those with its categories: category (of the same names) and text" * bool(expert.names)
        raise UsageError(
            f"Task {name} is not for {expert.name}, which cannot say where your pictures lie among its own, "
            "so that conditions are made of what it draws: use task edges (of pictures alone), recover, "
            f"upscale or colour{named}."
        )
    if wanted < 0 or wanted == 1:
        raise UsageError(f"target.draws is 2 or more, not {wanted}.")
    return wanted or DRAWS


def _suits(expert: Expert, task: Task) -> bool:
    """Whether the task's condition follows from a drawn picture, or from what the generator drew it of."""
    if isinstance(task, EdgesToPhoto):
        return task.made
    if isinstance(task, CategoryToPicture):
        return task.names == expert.names
    return isinstance(task, (Recover, Upscale, Colour)) or (
        isinstance(task, TextToPicture) and bool(expert.names)
    )


def drawn(run: Run, bridge: Bridge, split: str = "train") -> Store:
    """The pictures that the generator draws, of 8 bits as given ones are; made once and kept."""
    expert, channels = bridge.target, run.task.spec.channels
    assert expert is not None
    z = codes(run, expert, split)
    digest = hashlib.blake2b(z.numpy().tobytes(), digest_size=12).hexdigest()

    def parts() -> Iterator[Tensor]:
        for part in z.split(BATCH):
            x = match_channels(expert.decode(part.to(bridge.mean.device)), channels)
            yield ((x + 1) * 127.5).round().to(torch.uint8)

    def make() -> np.ndarray:
        say(f"{expert.name} draws {len(z)} pictures; they are kept.")
        return patiently(parts(), expert.name, len(z)).numpy()

    pictures = kept(kept_as([digest, expert.fingerprint, channels]), make)
    category = expert.category(z).numpy() if expert.names else None
    return Store(
        target=pictures,
        condition=None,
        category=category,
        names=tuple(f"drawn {i}" for i in range(len(z))),
        captions=() if category is None else tuple(expert.names[k].replace("_", " ") for k in category),
    )


def codes(run: Run, expert: Expert, split: str = "train") -> Tensor:
    """What they are drawn of [M, *shape], a function of the run's seed; "test" has others than "train"."""
    return draw(run, expert) if split == "train" else draw(run, expert, split, min(run.target.draws, TESTED))


def unlearnt(run: Run, bridge: Bridge) -> Pair:
    """Draws that nothing was learnt from: raw conditions, and what was to be made, on the bridge's device."""
    assert bridge.target is not None
    device = bridge.mean.device
    c = gathered(pairs(drawn(run, bridge, "test"), run, device, run.seed)).condition
    z = codes(run, bridge.target, "test").to(device)
    return Pair(None if c is None else c.to(device), bridge.scaled(z))


def energies(run: Run, bridge: Bridge, method: Method) -> Tensor:
    """E [M] of draws that nothing was learnt from: of real pictures there is none."""
    c, z = unlearnt(run, bridge)
    return method.energy(z, bridge.given(c)).cpu()
