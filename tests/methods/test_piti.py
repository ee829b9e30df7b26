"""PITI's stages on a toy prior: what is frozen, what learns, what is dropped; resuming."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tests.methods.toy_prior import batch_at, method
from torch import Tensor, nn

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair
from redraft.methods.piti import STAGES, Piti
from redraft.training import Train, train
from redraft.training.parts import learn
from redraft.training.update import Update

pytest.importorskip("diffusers", reason="an extra: redraft[diffusion]")


def settings(**more: object) -> Train:
    values: dict = {
        "steps": 10,
        "batch": 4,
        "warmup": 2,
        "lr": {"encoder": 1e-3, "initializer": 1e-3},
        "betas": {},
        "ema": {"encoder": 0.9, "initializer": 0.9},
        "clip": {},
        "checkpoint_every": 2,
    }
    return Train(**values | more)


def state(net: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in net.state_dict().items()}


def differing(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {k for k, v in before.items() if not torch.equal(v, after[k])}


def run(m: Piti, steps: int = 10, n: int = 4) -> list[str]:
    """Steps of a training of so many; the stage of each."""
    update, stages = Update(m.networks, settings(steps=steps)), []
    for t in range(steps):
        update.done = t / steps
        update.set_rates(1.0, {})
        learn(m, batch_at(t, n), update, 0, t)
        stages.append(m.stage)
    return stages


EARS = {"ear.weight", "ear.bias"}


@pytest.mark.parametrize("deaf", [False, True])
def test_a_frozen_prior_is_bit_for_bit_as_it_was_and_in_eval_mode(deaf: bool) -> None:
    """With dropout and batch statistics, which training mode alone would show; only new ears learn."""
    m = method(encoder=0.5, dropped=0.5)
    m.initializer.deaf = deaf  # type: ignore[assignment]
    prior, encoder = state(m.initializer), state(m.encoder)
    assert set(run(m)) == set(STAGES[:2])
    assert differing(prior, state(m.initializer)) == (set() if deaf else EARS)
    assert differing(encoder, state(m.encoder)) == set(encoder)
    assert not any(part.training for part in m.initializer.modules())
    assert all(p.requires_grad and p.grad is None for p in m.initializer.parameters())


def test_no_gradient_reaches_what_is_frozen() -> None:
    m, seen = method(encoder=0.5, dropped=0.2), {}

    class Looker:
        done = 0.0

        def together(self, nets: list[nn.Module], loss: Tensor) -> None:
            loss.backward()
            seen[m.stage] = {n for n, p in m.named_parameters() if p.grad is not None}
            m.zero_grad()

        def restart(self, net: nn.Module) -> None: ...
        def take_average(self, net: nn.Module) -> None: ...

    update = Looker()
    for t in range(10):
        update.done = t / 10
        m.step(batch_at(t), update, BatchNoise(stream(t)))  # type: ignore[arg-type]
    everything = {n for n, _ in m.named_parameters()}
    own = {n for n in everything if n.startswith("encoder.")}
    assert seen[STAGES[0]] == seen[STAGES[1]] == own | {f"initializer.{n}" for n in EARS}
    assert seen[STAGES[2]] == everything


def test_the_last_stage_moves_both() -> None:
    """Without dropout too: what that draws is no function of seed and step."""
    m = method(encoder=0.0, dropped=0.0)
    before = state(m)
    assert set(run(m)) == {"joint"}
    assert differing(before, state(m)) == {n for n, _ in m.named_parameters()}
    assert not m.initializer.drop.training  # type: ignore[union-attr]


@pytest.mark.parametrize("no", ["ones", "learned"])
def test_no_condition_is_told_alike_in_training_and_in_guidance(no: str) -> None:
    """Tokens, the whole picture's and the hint, whatever the condition was; others are told of theirs."""
    m, (c, _) = method(no=no), batch_at(0)
    assert c is not None
    torch.nn.init.normal_(m.encoder.drawn[-1].weight)  # type: ignore[index, arg-type]
    told, null = m._told(c, torch.tensor([True, False, True, False])), m._null(c)
    assert null is not None
    for mine, its, given in zip(told, null, m._told(c), strict=True):
        torch.testing.assert_close(mine[::2], its[::2])
        torch.testing.assert_close(mine[1::2], given[1::2])
        assert not torch.allclose(mine[1::2], its[1::2], atol=1e-3)


@pytest.mark.parametrize("steps", [3, 4, 5, 7, 10, 30])
def test_a_short_run_has_a_step_of_each_stage(steps: int) -> None:
    stages = [m for m in run(method(), steps)]
    assert set(stages) == set(STAGES) and stages == sorted(stages, key=STAGES.index)
    if steps >= 10:
        assert [stages.count(s) for s in STAGES] == [0.3 * steps, 0.1 * steps, 0.6 * steps]


@pytest.mark.parametrize(
    ("shares", "stages"),
    [((0.0, 0.5), STAGES[1:]), ((0.5, 0.0), STAGES[::2]), ((1.0, 0.0), STAGES[:1]), ((0.4, 0.9), STAGES[:2])],
)
def test_a_stage_without_a_share_is_left_out(shares: tuple[float, float], stages: tuple[str, ...]) -> None:
    seen = run(method(encoder=shares[0], dropped=shares[1]))
    assert tuple(dict.fromkeys(seen)) == stages


@pytest.mark.parametrize("null", ["ones", "learned"])
def test_the_given_share_of_conditions_is_dropped(null: str) -> None:
    """Counted: none in the first stage, a fifth in the others, within four deviations."""
    m = method(no=null, encoder=0.2, dropped=0.4)
    counts: dict[str, list[float]] = {}
    forward = m.encoder.forward

    def count(c: Tensor, dropped: Tensor | None = None) -> Tensor:
        counts.setdefault(m.stage, []).extend([] if dropped is None else dropped.float().tolist())
        return forward(c, dropped)

    m.encoder.forward = count  # type: ignore[method-assign]
    run(m, steps=60, n=16)
    assert not counts[STAGES[0]]
    for stage in STAGES[1:]:
        n = len(counts[stage])
        assert n == 16 * 24
        assert sum(counts[stage]) / n == pytest.approx(0.2, abs=4 * (0.16 / n) ** 0.5)


def test_the_loss_against_its_formula_in_float64() -> None:
    m = method(scale=2.0).double().eval()
    c, x = (v.double() for v in batch_at(0) if v is not None)
    losses: list[Tensor] = []

    class Update:
        done = 0.0

        def together(self, nets: object, loss: Tensor) -> None:
            losses.append(loss)

    m.step(Pair(c, x), Update(), BatchNoise(stream(5)))  # type: ignore[arg-type]
    noise = BatchNoise(stream(5))
    t = (torch.special.ndtr(noise.normal(4, 1)[:, 0]) * 100).long()
    eps = noise.normal(4, 1, 8, 8).double()
    alpha, sigma = (v[t].view(-1, 1, 1, 1) for v in (m.process.alpha, m.process.sigma))
    tokens = m.encoder(c)
    predicted = m.initializer(
        2 * alpha * x + sigma * eps, t, tokens[:, :-1], tokens[:, -1], m.encoder.hint(c)
    )
    wanted = (predicted - (alpha * eps - 2 * sigma * x)).square().mean()
    torch.testing.assert_close(losses[0], wanted, rtol=1e-6, atol=0)


class Killed(BaseException):
    """The machine goes off."""


def trained(out: Path, last: int = 99, resume: bool = False, every: int = 2, **given: object) -> Tensor:
    def batch(t: int) -> Pair:
        if t == last:
            raise Killed
        return batch_at(t)

    m = method(**given)  # type: ignore[arg-type]
    train(m, batch, settings(checkpoint_every=every), out, resume=resume)
    return torch.cat([v.flatten().float() for v in m.state_dict().values()])


@pytest.mark.parametrize(("every", "how"), [(1, {}), (3, {"carry": "weights", "optimizers": "keep"})])
def test_killed_in_each_stage_it_ends_as_if_it_had_not_been(every: int, how: dict, tmp_path: Path) -> None:
    """Stages end after steps 3 and 4 of ten; steps in and around each die, checkpoints lie where they lie."""
    whole = trained(tmp_path / "whole", every=every, **how)
    for last in (2, 3, 4, 8):
        out = tmp_path / str(last)
        with pytest.raises(Killed):
            trained(out, last, every=every, **how)
        assert torch.equal(trained(out, resume=True, every=every, **how), whole), last
        told = (out / "events.log").read_text()
        assert "The encoder stage ends at step 3; the dropped conditions stage begins." in told
        assert "The dropped conditions stage ends at step 4; the joint stage begins." in told


@pytest.mark.parametrize("carry", ["average", "weights"])
def test_what_the_encoder_goes_on_from(carry: str) -> None:
    m = method(encoder=0.5, dropped=0.5, carry=carry)
    update = Update(m.networks, settings(lr={"encoder": 1e-3, "initializer": 1e-3}))
    for t in range(6):
        update.done = t / 10
        update.set_rates(1e-12 if t == 5 else 1.0, {})
        if t == 5:
            raw, average = m.encoder.whole.detach().clone(), update.averages["encoder"]["whole"].clone()
        learn(m, batch_at(t), update, 0, t)
    expected = {"average": average, "weights": raw}[carry]
    torch.testing.assert_close(m.encoder.whole.detach(), expected, rtol=0, atol=1e-9)
    assert not torch.equal(raw, average)


@pytest.mark.parametrize("optimizers", ["reset", "keep"])
def test_whether_optimizers_begin_anew(optimizers: str) -> None:
    m = method(optimizers=optimizers)
    update, counts = Update(m.networks, settings()), []
    for t in range(10):
        update.done = t / 10
        learn(m, batch_at(t), update, 0, t)
        counts.append(int(update.optimizers["encoder"].state[m.encoder.whole]["step"]))
    assert counts == ([1, 2, 3, 1, 1, 2, 3, 4, 5, 6] if optimizers == "reset" else list(range(1, 11)))


@pytest.mark.parametrize("done", [0.0, 0.35, 0.9])
def test_a_batch_in_two_parts_teaches_as_the_whole(done: float) -> None:
    moments = []
    for parts in (1, 2):
        m = method(no="learned")
        m.stage = next(s for s, end in zip(STAGES, (0.3, 0.4, 1.0), strict=True) if done < end)
        update = Update(m.networks, settings(accumulate=parts))
        update.done = done
        update.set_rates(1e-6, {})
        learn(m, batch_at(0, 8), update, 0, 0)
        each = [s["exp_avg"].flatten() for o in update.optimizers.values() for s in o.state.values()]
        moments.append(torch.cat(each))
    torch.testing.assert_close(*moments, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"encoder": -0.1}, "method.encoder is a share"),
        ({"dropped": 1.1}, "method.dropped is a share"),
        ({"null": 1.0}, "method.null"),
        ({"guidance": -1.0}, "method.guidance"),
        ({"guidance": 1e6}, "method.guidance"),
        ({"steps": 0}, "at least 1"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Piti.Config(**wrong)


def test_a_scheduler_that_does_not_fit_is_refused_before_training() -> None:
    with pytest.raises(UsageError, match=r"flow-euler is not for schedules of kind cosine.*dpm\+\+"):
        method(scheduler="flow-euler")
    assert copy.deepcopy(method()).stage == ""
