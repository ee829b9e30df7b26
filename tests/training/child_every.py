"""What the two processes of test_every_method compute; started by torchrun with a folder as its argument."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from test_every_method import SUBJECTS, even, gradients, stages

from redraft.training.processes import barrier, processes, rank


def main(out: Path) -> None:
    torch.set_num_threads(1)
    with processes(torch.device("cpu")):
        for name in SUBJECTS:
            run = even(name)
            for done in stages(run):
                torch.save(gradients(name, run, done), out / f"{name}.{done}.{rank()}.pt")
        barrier()  # neither takes the connection away while the other still uses it


if __name__ == "__main__":
    main(Path(sys.argv[1]))
