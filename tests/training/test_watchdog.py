"""Planted faults are caught, explained in a sentence, and undone or reported."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
from runs import dies_at, killed, metrics, once, settings, weights

from redraft.core.errors import DataError, Diverged, UsageError
from redraft.core.types import Pair
from redraft.training import Outcome, Progress, checkpoint, train, trainer
from redraft.training.drafts import compare
from redraft.training.watchdog import CALM, TRIES, Fault, Watchdog

RATES = {"solver": 1e-3, "initializer": 2e-3}


@pytest.fixture(params=["looking at every step", "looking now and then"])
def looking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is what happens on a GPU."""
    monkeypatch.setattr(trainer, "is_lazy", lambda device: request.param != "looking at every step")


def finite(method: torch.nn.Module) -> bool:
    return bool(weights(method).isfinite().all())


def nan_at(*steps: int):  # noqa: ANN201
    def batch_at(t: int) -> Pair:
        batch = tiny.batch_at(t)
        if t in steps:
            batch.target[0, 0, 0, 0] = float("nan")
        return batch

    return batch_at


class Planted:
    """A fault that begins when the batch of a step is made and ends when the watchdog has acted."""

    def __init__(self, step: int) -> None:
        self.step, self.active, self.over = step, False, False

    def batch_at(self, t: int) -> Pair:
        self.active = not self.over and (self.active or t == self.step)
        return tiny.batch_at(t)

    def heard(self, progress: Progress) -> None:
        if progress.event:
            self.active, self.over = False, True


def told(out: Path, outcome: Outcome) -> str:
    """All that was told; events.log holds the same."""
    log = (out / "events.log").read_text()
    assert all(e in log for e in outcome.events)
    return "\n".join(outcome.events)


@pytest.mark.parametrize("seed", range(3))
def test_a_sound_run_is_left_alone(tmp_path: Path, seed: int) -> None:
    outcome = train(tiny.method(seed), tiny.batch_at, settings(steps=300), tmp_path / "run", seed=seed)
    assert outcome.events == ()


def test_a_learning_rate_of_the_solver_times_1000(tmp_path: Path, looking: None) -> None:
    method, outcome = once(tmp_path / "run", settings(steps=120, lr={**RATES, "solver": 1.0}))
    words = told(tmp_path / "run", outcome)
    assert (
        "ran away" in words and "went back to step 0" in words and "learning rate of solver to 0.1" in words
    )
    assert outcome.steps == 120 and finite(method)
    rates = [float(r["lr_solver"]) for r in metrics(tmp_path / "run")]
    assert len(rates) == 120 and rates[50] <= 0.1
    assert max(abs(float(r["energy_data"])) for r in metrics(tmp_path / "run")[60:]) < 100


def test_a_learning_rate_of_the_initializer_times_1000(tmp_path: Path, looking: None) -> None:
    method, outcome = once(tmp_path / "run", settings(steps=60, lr={**RATES, "initializer": 2.0}))
    words = told(tmp_path / "run", outcome)
    assert "stuck at black and white" in words and "learning rate of initializer to 0.1" in words
    sample = tiny.drafts(method)
    assert (sample.abs() > 0.99).float().mean() < 0.5


def test_a_batch_with_nan_is_named_and_left_out(tmp_path: Path, looking: None) -> None:
    method, outcome = once(tmp_path / "run", settings(), batch_at=nan_at(0, 33))
    assert outcome.events == (
        "The batch of step 1 holds values that are not finite numbers; it is left out.",
        "The batch of step 34 holds values that are not finite numbers; it is left out.",
    )
    assert finite(method) and outcome.steps == 60
    steps = [int(r["step"]) for r in metrics(tmp_path / "run")]
    assert steps == [t for t in range(1, 61) if t not in (1, 34)]
    assert {r["lr_solver"] for r in metrics(tmp_path / "run")[6:20]} == {"0.001"}  # nothing was lowered


def test_data_full_of_nan_is_an_error_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="redraft data check"):
        once(tmp_path / "run", settings(), batch_at=nan_at(*range(60)))


def test_an_energy_that_runs_away(tmp_path: Path, looking: None) -> None:
    """From step 30 on the solver's score is amplified, more at every call, until something is done."""
    method, fault = tiny.method(), Planted(30)
    plain, gain = method.solver.forward, [1.0]

    def amplified(x: torch.Tensor, code: tuple) -> torch.Tensor:
        gain[0] = 2 * gain[0] if fault.active else 1.0
        return gain[0] * plain(x, code)

    method.solver.forward = amplified
    outcome = train(method, fault.batch_at, settings(), tmp_path / "run", report=fault.heard)
    words = told(tmp_path / "run", outcome)
    assert "ran away" in words and "went back to step 20" in words and len(outcome.events) == 1
    assert finite(method) and outcome.steps == 60 and len(metrics(tmp_path / "run")) == 60


def test_a_gradient_that_is_no_number(tmp_path: Path, looking: None) -> None:
    """The initializer's gradient, not its loss, turns NaN at step 25."""
    method, fault = tiny.method(), Planted(25)
    weight = method.initializer.body[0].weight
    weight.register_hook(lambda grad: grad * float("nan") if fault.active else grad)
    outcome = train(method, fault.batch_at, settings(), tmp_path / "run", report=fault.heard)
    words = told(tmp_path / "run", outcome)
    assert "gradient" in words and "not a finite number" in words
    assert "went back to step 20" in words and "initializer to 0.1" in words
    assert finite(method) and outcome.steps == 60


def test_a_generator_that_ignores_z_is_reported(tmp_path: Path) -> None:
    method = tiny.method()
    plain = method.initializer.forward
    method.initializer.forward = lambda z, c: plain(0 * z, c)
    outcome = train(method, tiny.batch_at, settings(steps=210), tmp_path / "run")
    assert len(outcome.events) == 1 and "ignores z" in outcome.events[0]
    assert metrics(tmp_path / "run")[199]["drafts_spread"] == "0"


def test_a_chain_that_stops_is_undone(tmp_path: Path, looking: None) -> None:
    method, fault = tiny.method(), Planted(31)
    plain = method.solver.forward
    method.solver.forward = lambda x, code: plain(x * (not fault.active), code)
    outcome = train(method, fault.batch_at, settings(), tmp_path / "run", report=fault.heard)
    words = told(tmp_path / "run", outcome)
    assert "stopped moving the drafts" in words and "went back to step 20" in words
    assert len(outcome.events) == 1 and outcome.steps == 60


def test_it_gives_up_and_says_what_to_try(tmp_path: Path) -> None:
    method = tiny.method()
    plain = method.solver.forward
    method.solver.forward = lambda x, code: 1e6 * plain(x, code)
    with pytest.raises(Diverged, match="Training failed 7 times.*train.lr.solver"):
        train(method, tiny.batch_at, settings(), tmp_path / "run")
    assert checkpoint.saved(tmp_path / "run" / "checkpoints")


def test_the_papers_runs_may_let_energies_grow(tmp_path: Path) -> None:
    method = tiny.method()
    plain = method.solver.forward
    method.solver.forward = lambda x, code: 1e6 * plain(x, code)
    assert train(method, tiny.batch_at, settings(steps=20, energy_limit=None), tmp_path / "run").steps == 20


def test_what_was_done_is_remembered_through_a_kill(tmp_path: Path) -> None:
    cfg = settings(steps=50, lr={**RATES, "solver": 1.0})
    whole, outcome = once(tmp_path / "a", cfg)
    assert outcome.events
    for step in (1, 25, 45):
        assert killed(lambda step=step: once(tmp_path / "b", cfg, resume=step > 1, batch_at=dies_at(step)))
    resumed, _ = once(tmp_path / "b", cfg, resume=True)
    assert torch.equal(weights(whole), weights(resumed))
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")


# --- rules alone


def watchdog() -> Watchdog:
    return Watchdog(["solver", "initializer"], 100.0, drift_clip=0.05)


def read(dog: Watchdog, steps: int, **values: float) -> list[object]:
    return [f for f in (dog.read(values) for _ in range(steps)) if f]


def test_the_slow_growth_of_energies_under_a_mismatch_term_is_sound() -> None:
    dog = watchdog()
    for t in range(2000):
        assert dog.read({"energy_data": -4 * t / 2000, "move": 0.15 - 0.06 * t / 2000}) is None


def test_slow_growth_without_end_is_not() -> None:
    dog = watchdog()
    assert any(dog.read({"energy_data": 1.01**t}) for t in range(1000))


def test_the_teaching_loss_of_a_sound_start_grows_a_thousandfold() -> None:
    """As measured on Fashion-MNIST, times 48 for pictures of 64 px in colour."""
    dog = watchdog()
    losses = (
        [0.1] * 8
        + [0.3, 0.8, 3.1, 14.1, 51.4, 31.0, 91.3, 270.7, 82.2, 107.6, 169.2, 179.8, 171.5]
        + [64] * 200
    )
    assert not [t for t, loss in enumerate(losses) if dog.read({"loss_initializer": 48 * loss})]
    assert "loss_initializer ran away" in dog.read({"loss_initializer": 48 * 5000}).sentence  # type: ignore[union-attr]


def test_a_chain_at_its_clip_is_told_once() -> None:
    dog = watchdog()
    notes = []
    for t in range(400):
        row = {"move": 0.2, "drift": 0.05 if t < 150 else 0.9}
        assert dog.read(row) is None
        notes += [(t, n) for n in dog.notes(row)]
    assert len(notes) == 1 and notes[0][0] > 150 and "clip alone" in notes[0][1]


def test_a_chain_that_comes_to_stand_still_is_told_once_and_one_without_steps_never() -> None:
    dog, idle = watchdog(), watchdog()
    notes: list[str] = []
    for t in range(2000):
        move = max(0.1 * 0.995**t, 1e-4)
        assert dog.read({"move": move}) is None
        notes += dog.notes({"move": move})
        assert idle.read({"move": 0.0}) is None and not idle.notes({"move": 0.0})
    assert len(notes) == 1 and "stand still" in notes[0]


def test_a_generator_without_z_ignores_nothing(tmp_path: Path) -> None:
    method = tiny.method()
    plain, shape = method.initializer.forward, method.initializer.z_shape
    method.initializer.z_shape = (0,)
    method.initializer.forward = lambda z, c: plain(z.new_zeros(len(z), *shape), c)
    assert not train(method, tiny.batch_at, settings(steps=210), tmp_path / "run").events


@pytest.mark.parametrize("chain", [True, False])
def test_a_shorter_chain_is_advised_where_there_is_one(chain: bool) -> None:
    dog = Watchdog(["initializer"], None, None, SimpleNamespace(**({"langevin": 1} if chain else {})))
    dog.tries = TRIES
    with pytest.raises(Diverged) as told:
        dog.act(Fault("it failed", "initializer"), 500, 400)
    assert ("langevin" in str(told.value)) == chain and "train.clip (1.0)" in str(told.value)


def test_tries_are_forgiven_after_a_long_calm() -> None:
    dog = watchdog()
    dog.act(Fault("it failed", "solver"), 500, 400)
    assert dog.tries == 1 and dog.scale == {"solver": 0.5}
    read(dog, CALM, energy_data=0.1)
    assert dog.tries == 0


def test_drafts_are_measured_against_real_pictures() -> None:
    g = torch.Generator().manual_seed(0)
    real = torch.randn(64, 1, 8, 8, generator=g) * 0.3
    same, other = real[:8], real[8:16]
    spread = compare(torch.cat([same, other]), torch.cat([same, other]), real)[0].item()
    assert spread == pytest.approx(1, rel=0.1)
    assert compare(torch.cat([same, same]), torch.cat([same, same]), real)[0] == 0


def test_an_indivisible_batch(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="8 pictures.*3 equal parts"):
        once(tmp_path / "run", settings(accumulate=3))
