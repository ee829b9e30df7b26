"""What the processes of test_processes do; started by torchrun with a folder as its argument."""

from __future__ import annotations

import sys
from pathlib import Path

import tiny
import torch
from runs import settings, weights
from test_every_method import batch_at, the_run, untrained

from redraft.core.types import Pair
from redraft.training import train
from redraft.training.processes import processes, rank, world

CONTEST = "autoencoder, adversarial"
BALANCED = ("method.adaptive=true", "method.start=0", "train.steps=3")


def mine(t: int) -> Pair:
    c, x = tiny.batch_at(t)
    return Pair(c[rank() :: world()], x[rank() :: world()])


def share(t: int) -> Pair:
    return Pair(None, batch_at(CONTEST, t).target[rank() :: world()])


def main(out: Path) -> None:
    torch.set_num_threads(1)
    with processes(torch.device("cpu")):
        for name, more, resume in (
            ("two", {}, False),
            ("split", {"shard": True}, False),
            ("one", {}, True),  # its first steps were one process's
            ("one-split", {"shard": True}, True),
        ):
            # the other process starts from other weights, which must not matter
            method = tiny.method(seed=rank(), wrong_conditions=0.0)
            cfg = settings(steps=12, checkpoint_every=6, clip={"solver": 0.5}, **more)
            train(method, mine, cfg, out / name, seed=3, resume=resume)
            torch.save(weights(method), out / f"{name}.{rank()}.pt")
        for name, more in (("balance", ()), ("balance-split", ("train.shard=true",))):
            run = the_run(CONTEST, "modern", *BALANCED, *more)
            method = untrained(CONTEST, run)
            train(method, share, run.train, out / name, seed=3)
            torch.save(weights(method), out / f"{name}.{rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
