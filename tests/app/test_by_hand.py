"""Drawings are drawn again in training alone, differently in every step and alike in every process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from painting import paint

from redraft.app.examples import batches, pairs, store
from redraft.core.errors import UsageError
from redraft.core.types import Pair
from redraft.data import recognise
from redraft.recipes import RECIPES
from redraft.recipes.ends import Condition
from redraft.recipes.run import Run
from redraft.tasks import TASKS
from redraft.tasks.edges import EdgesToPhoto, spread

CPU = torch.device("cpu")
FREE = ("task.hand.dropped=0.8", "task.hand.jitter=0.05")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    root = tmp_path_factory.mktemp("by_hand")
    for i in range(12):
        paint(root / f"{i:02d}.png", i, 32)
    task = TASKS["edges"].of(recognise(root), 32)
    return root, RECIPES["modern"](task, "ccoopnets", 11, 0).override(["train.batch=4"])


def training(root: Path, run: Run, t: int) -> Pair:
    return batches(store(recognise(root), "train", run, margin=True), run, CPU)(t)


def drawn(pair: Pair) -> torch.Tensor:
    assert pair.condition is not None
    return pair.condition


def test_training_sees_drawings_by_hand_and_their_photos_as_they_are(run: tuple[Path, Run]) -> None:
    root, still = run
    free = still.override(FREE)
    a, b = training(root, still, 3), training(root, free, 3)
    torch.testing.assert_close(a.target, b.target)
    assert not torch.allclose(drawn(a), drawn(b), atol=0.1)
    torch.testing.assert_close(spread(drawn(b)[:, :1]), drawn(b))  # what is near is of what was drawn
    torch.testing.assert_close(drawn(training(root, free, 3)), drawn(b))  # a function of the step


def test_what_is_held_out_is_as_it_was(run: tuple[Path, Run]) -> None:
    root, still = run
    held = store(recognise(root), "test", still)
    a, b = (next(pairs(held, r, CPU, 0)) for r in (still, still.override(FREE)))
    torch.testing.assert_close(drawn(a), drawn(b))


def test_a_run_keeps_its_hand(run: tuple[Path, Run]) -> None:
    free = run[1].override(FREE)
    task = Run.from_dict(free.to_dict()).task
    assert isinstance(task, EdgesToPhoto) and task.hand.dropped == 0.8 and not task.hand.still


def test_an_expert_that_looks_once_cannot_follow(run: tuple[Path, Run]) -> None:
    root, still = run
    free = replace(still.override(FREE), condition=Condition(expert="image:x", shape=(4,)))
    with pytest.raises(UsageError, match="leave one of them out"):
        training(root, free, 0)
