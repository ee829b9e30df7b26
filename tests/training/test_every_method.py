"""The common promises of training, for every method and kind of condition, with its own networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from redraft.core.rng import stream
from redraft.core.types import Pair
from redraft.methods import METHODS
from redraft.recipes import RECIPES, Run, build
from redraft.tasks.category import CategoryToPicture
from redraft.tasks.none import Nothing
from redraft.tasks.pairs import PictureToPicture
from redraft.training import train

SMALL = [
    "networks.solver_width=4",
    "networks.initializer_width=8",
    "train.batch=4",
    "train.steps=6",
    "train.checkpoint_every=2",
    "method.langevin.steps=2",
    "method.langevin.noise=0.01",
]
SUBJECTS = {
    "coopnets": ("coopnets", Nothing(size=16, channels=1)),
    "ccoopnets, category": ("ccoopnets", CategoryToPicture(size=16, channels=1, names=("a", "b", "c"))),
    "ccoopnets, picture": ("ccoopnets", PictureToPicture(size=16, channels=1, condition_channels=1)),
}


def the_run(name: str, recipe: str = "modern", *more: str) -> Run:
    method, task = SUBJECTS[name]
    return RECIPES[recipe](task, method, 100, 0).override([*SMALL, *more])


def batch_at(name: str, t: int, n: int = 4) -> Pair:
    g = stream(0, name, t)
    x = torch.rand(n, 1, 16, 16, generator=g) * 2 - 1
    kind = SUBJECTS[name][1].spec.condition
    c = {"none": None, "category": torch.arange(n) % 3, "picture": x.flip(3)}[kind]
    return Pair(c, x)


def trained(name: str, out: Path, run: Run, **options: object) -> torch.Tensor:
    method = build(run)
    if getattr(method, "style", None) is not None:
        c, x = batch_at(name, 99, 40)
        method.style.fit(x, c)
    given = {"batch_at": lambda t: batch_at(name, t), **options}
    train(method, cfg=run.train, out=out, config=run.to_dict(), **given)
    return torch.cat([p.detach().flatten() for p in method.state_dict().values()])


class Killed(BaseException):
    """The machine goes off."""


def test_every_method_is_a_subject() -> None:
    assert {method for method, _ in SUBJECTS.values()} == set(METHODS)


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("recipe", ["modern", "classic"])
def test_a_killed_run_ends_as_one_that_was_not(name: str, recipe: str, tmp_path: Path) -> None:
    run = the_run(name, recipe)

    def dies(t: int) -> Pair:
        if t == 4:
            raise Killed
        return batch_at(name, t)

    whole = trained(name, tmp_path / "a", run)
    with pytest.raises(Killed):
        trained(name, tmp_path / "b", run, batch_at=dies)
    assert torch.equal(trained(name, tmp_path / "b", run, resume=True), whole)


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_batch_with_nan_is_left_out_and_said(name: str, tmp_path: Path) -> None:
    def poisoned(t: int) -> Pair:
        c, x = batch_at(name, t)
        return Pair(c, x * float("nan")) if t == 3 else Pair(c, x)

    weights = trained(name, tmp_path / "run", the_run(name), batch_at=poisoned)
    assert weights.isfinite().all()
    assert "batch of step 4" in (tmp_path / "run" / "events.log").read_text()


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_batch_in_two_parts_teaches_as_the_whole(name: str, tmp_path: Path) -> None:
    """Up to rounding, and where neighbours within a part are the wrong conditions: so without those."""
    plain = [] if name == "coopnets" else ["method.wrong_conditions=0"]
    whole = trained(name, tmp_path / "a", the_run(name, "modern", *plain))
    parts = trained(name, tmp_path / "b", the_run(name, "modern", *plain, "train.accumulate=2"))
    torch.testing.assert_close(parts, whole, rtol=1e-2, atol=1e-4)
