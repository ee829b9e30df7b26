"""From a folder to batches of a task: training batches by step, held-out pairs in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair
from redraft.data import Cache, Folder, Loader, Raw, Store, captioned, in_order
from redraft.data.splits import shared
from redraft.recipes.run import Run
from redraft.sketches import Hand
from redraft.tasks.edges import EdgesToPhoto
from redraft.training.processes import rank, world

See = Callable[[Raw, Pair], Pair]  # a batch and its raw pair -> the pair as experts see it


def store(folder: Folder, split: str, run: Run, margin: bool = False) -> Store:
    """The split, decoded once. ``margin``: to be trained on, so with a margin for crops, and a share."""
    task = run.task
    folder = captioned(folder) if run.task_name == "text" else folder
    made = Cache().build(
        shared(folder, run.reading.share) if margin and split == "train" else folder,
        split,
        size=task.spec.size,
        channels=task.spec.channels,
        margin=run.reading.margin if margin else 0,
        labels=False if run.task_name in ("pairs", "unpaired") else None,
    )
    return made if task.spec.paired else replace(made, paired=False)


def batches(data: Store, run: Run, device: torch.device, see: See | None = None) -> Callable[[int], Pair]:
    """t -> this process's share of the batch of step t, on the device; ``see`` is what experts make of it."""
    loader = Loader(
        data,
        batch=run.train.batch,
        seed=run.seed,
        size=run.task.spec.size,
        flip=run.reading.flip,
        leave_out=held_back(run, data),
        rank=rank(),
        world=world(),
    )
    hand = run.task.hand if isinstance(run.task, EdgesToPhoto) else Hand()
    if not hand.still and run.condition.expert:
        raise UsageError(
            f"{run.condition.expert} looks at each drawing once, before training, and task.hand draws it "
            "anew in every step: leave one of them out."
        )

    def batch_at(t: int) -> Pair:
        noise = BatchNoise(stream(run.seed, "task", t), rank(), world())
        return pair_of(loader.batch(t), run, noise, device, see, by_hand=not hand.still)

    return batch_at


def held_back(run: Run, data: Store) -> int:
    """k where every k-th training picture is not learnt from, but tells which weights to keep; 0 for none."""
    k = int(getattr(run.method, "hold_back", 0))
    fewest = len(data) if data.paired or data.condition is None else min(len(data), len(data.condition))
    return k if fewest >= 2 * k else 0


def pairs(
    data: Store,
    run: Run,
    device: torch.device,
    seed: int,
    most: int | None = None,
    batch: int = 64,
    see: See | None = None,
    every: int = 1,
) -> Iterator[Pair]:
    """The split in order, as pairs on the device; what a task draws (holes) is a function of the seed."""
    noise = BatchNoise(stream(seed, "held-out"))
    seen = 0
    for raw in in_order(data, batch, every=every):
        take = len(raw.target) if most is None else min(len(raw.target), most - seen)
        if take <= 0:
            return
        seen += take
        pair = pair_of(raw, run, noise, device, see)
        yield Pair(None if pair.condition is None else pair.condition[:take], pair.target[:take])


def gathered(parts: Iterator[Pair]) -> Pair:
    """All pairs as one, on the CPU."""
    listed = [Pair(None if c is None else c.cpu(), x.cpu()) for c, x in parts]
    x = torch.cat([p.target for p in listed])
    c = (
        None
        if listed[0].condition is None
        else torch.cat([p.condition for p in listed if p.condition is not None])
    )
    return Pair(c, x)


def spread_out(held_out: Pair, n: int) -> list[int]:
    """n rows evenly over the held-out pairs; over the categories in turn where there are some."""
    c, total = held_out.condition, len(held_out.target)
    if c is None or c.ndim != 1:
        return [i * total // n for i in range(n)]
    by_category = [(c == k).nonzero()[:, 0].tolist() for k in c.unique().tolist()]
    turns = [rows[t] for t in range(max(map(len, by_category))) for rows in by_category if t < len(rows)]
    return turns[:n]


def pair_of(
    raw: Raw,
    run: Run,
    noise: BatchNoise,
    device: torch.device,
    see: See | None = None,
    *,
    by_hand: bool = False,
) -> Pair:
    """A batch as the task's pair on the device, where it becomes floats; or as experts ``see`` it.

    ``by_hand``: its drawings are drawn again, as they are for training alone.
    """
    pair = run.task.pair(raw.to(device), noise)
    if by_hand and isinstance(run.task, EdgesToPhoto) and pair.condition is not None:
        pair = pair._replace(condition=run.task.redrawn(pair.condition, noise))
    pair = pair._replace(target=_stretch(pair.target)) if run.reading.stretch else pair
    return pair if see is None else see(raw, pair)


def _stretch(x: torch.Tensor) -> torch.Tensor:
    """Each picture's own extremes to -1 and 1, as in the papers' code."""
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (x - low) / (high - low).clamp_min(1e-3) * 2 - 1
