#!/usr/bin/env python3
"""Pictures of a trained model for a document: python scripts/gallery.py RUN DATA OUT.png COLUMNS [truth]

Rows: the condition, draft, refined, refined with another z, of held-out pictures; with ``truth`` the true
ones too (leave them out where their terms forbid it). For categories, one column each: two drafts above,
the same refined below.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from redraft.app.check import open_folder
from redraft.app.examples import gathered, pairs, store
from redraft.app.model import Model
from redraft.core import images
from redraft.core.types import Pair


def main(run: str, data: str, out: str, columns: int = 8, truth: bool = False) -> None:
    model = Model.from_pretrained(run, "cpu")
    task, kind = model.task, model.task.spec.condition
    if kind == "picture":
        held_out = store(open_folder(data), "test", model.run)
        some = gathered(pairs(held_out, model.run, torch.device("cpu"), 0))
        rows = torch.arange(columns) * len(some.target) // columns
        assert some.condition is not None
        pair = Pair(some.condition[rows], some.target[rows])
        one = model.make(pair.condition, list(range(columns)))
        other = model.make(pair.condition, list(range(columns, 2 * columns)))
        given = task.show(pair.condition, columns)
        strips = [given, one.drafts, one.images, other.images, *([pair.target] if truth else [])]
    else:
        names = task.spec.width if kind == "category" else columns
        c = torch.arange(names) if kind == "category" else None
        made = [model.make(c, list(range(start, start + names))) for start in (0, names)]
        strips = [m.drafts for m in made] + [m.images for m in made]
        if c is not None:
            strips = [task.show(c, names), *strips]
    scale = max(1, 64 // task.spec.size)
    sheets = [
        s if s.shape[-1] >= 64 else s.repeat_interleave(scale, 2).repeat_interleave(scale, 3) for s in strips
    ]
    side = max(s.shape[-1] for s in sheets)
    sheets = [
        torch.nn.functional.interpolate(s, size=(side, side)) if s.shape[-1] != side else s for s in sheets
    ]
    images.write(images.grid(sheets), Path(out), {})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), "truth" in sys.argv[5:])
