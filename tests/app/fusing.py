"""What the tests of fusions share: a captioned folder, small settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from painting import paint

from redraft.core import images

Like = Callable[..., Path]
SIZE = 16
SMALL = [
    "--size=16",
    "--device=cpu",
    *("--set=networks.flow.blocks=2", "--set=networks.flow.width=8", "--set=train.batch=4"),
    "--set=target.components=0",  # the toy expert's whole latent, which gives pictures back as they are
]
TINY = ["--set=networks.solver_width=4", "--set=networks.initializer_width=4", "--set=train.batch=4"]
CHAIN = "--set=method.langevin.steps=2"


def captioned(root: Path, n: int = 24, first: int = 0) -> Path:
    for i in range(n):
        paint(root / f"{i:02d}.png", first + i, SIZE)
        (root / f"{i:02d}.txt").write_text(f"a {('red', 'blue')[i % 2]} {('ball', 'dot', 'disc')[i % 3]}")
    return root


def picture(file: Path) -> torch.Tensor:
    return images.to_tensor(images.read(str(file)))
