"""Quality against time of drafts and of steps from them: what is measured, on what, and by which clock."""

from __future__ import annotations

import json
import math
import time

import pytest
import torch
from torch import Tensor

from redraft.core.rng import stream
from redraft.core.types import Pair
from redraft.evaluation.curve import Revision, revisions
from redraft.evaluation.evaluate import Agreement, Asked
from redraft.evaluation.features import SmallFeatures
from redraft.evaluation.table import Scores

SLOW = 0.04  # seconds that a batch of drafts takes


def real(n: int) -> Pair:
    x = torch.rand(n, 3, 16, 16, generator=stream(1)) * 2 - 1
    return Pair(x.flip(1), x)


def asked(batch: int = 8) -> Asked:
    """How far pictures are from their conditions' true ones, as an agreement."""
    far = Agreement(name="far", says="", score=lambda x, c: (x - c.flip(1)).flatten(1).abs().mean(1))
    return Asked(features=SmallFeatures(), agreements=[far], batch=batch)


class Slow:
    """Drafts off by 0.5; a revision at level s leaves s times K / 8 of that."""

    def __init__(self, test: Pair) -> None:
        self.test, self.asked = test, []

    def draft(self, rows: slice) -> Tensor:
        time.sleep(SLOW)
        return self.test.target[rows] + 0.5

    def revise(self, drafts: Tensor, rows: slice, level: float, steps: int) -> Tensor:
        self.asked.append((rows.start, rows.stop, level, steps))
        off = drafts - self.test.target[rows]
        return self.test.target[rows] + level * steps / 8 * off


def curves(test: Pair, batch: int = 8) -> tuple[Slow, dict]:
    slow = Slow(test)
    wanted = [Revision("from 0.5", 0.5, (2, 4)), Revision("from noise", 1.0, (8,))]
    return slow, revisions(slow.draft, slow.revise, test, asked(batch), wanted, truth=True)


def test_each_point_is_of_its_own_drafts_level_and_steps() -> None:
    slow, made = curves(real(20))
    assert list(made) == ["draft", "from 0.5", "from noise"]
    far = {(name, p.steps): p.cells["far"].value for name, points in made.items() for p in points}
    told = {("draft", 0): 0.5, ("from 0.5", 2): 0.0625, ("from 0.5", 4): 0.125, ("from noise", 8): 0.5}
    assert far == pytest.approx(told, abs=1e-6)
    for level, steps in ((0.5, 2), (0.5, 4), (1.0, 8)):
        rows = [(a, b) for a, b, s, k in slow.asked if (s, k) == (level, steps)]
        assert rows == [(0, 8), (8, 16), (16, 20)]


def test_drafts_are_paid_for_by_what_begins_at_them_and_by_nothing_else() -> None:
    _, made = curves(real(16))
    each = 1000 * SLOW / 8
    assert made["draft"][0].milliseconds >= each
    assert all(p.milliseconds >= each for p in made["from 0.5"])
    assert made["from noise"][0].milliseconds < each


def test_what_too_few_pictures_cannot_tell_is_left_out() -> None:
    _, made = curves(real(2))
    cells = [cell for points in made.values() for p in points for cell in p.cells.values()]
    assert cells and all(math.isfinite(v) for cell in cells for v in cell)


def test_scores_keep_points_and_have_them_as_rows() -> None:
    _, made = curves(real(20))
    empty = Scores(features="", pictures=20, variants=1, truth=True, measures=(), rows={}, against_time=made)
    assert Scores.from_dict(json.loads(json.dumps(empty.to_dict()))) == empty
    assert list(empty.timed) == ["draft", "from 0.5, 2 steps", "from 0.5, 4 steps", "from noise, 8 steps"]
    assert empty.timed["draft"]["ms a picture"].value == made["draft"][0].milliseconds
