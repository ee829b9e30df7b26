"""The verb ``update``: whom it moves, how far, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from redraft.core.errors import UsageError
from redraft.training import Train
from redraft.training.schedule import Length, factor, shows_pictures
from redraft.training.update import NonFinite, Update


def pair(**changes: object) -> tuple[Update, nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    a, b = nn.Linear(3, 2), nn.Linear(2, 1)
    settings = {"steps": 10, "lr": {"a": 0.1, "b": 0.1}, "betas": {"a": (0.5, 0.9)}, "ema": {}, "clip": {}}
    return Update({"a": a, "b": b}, Train(**settings | changes)), a, b  # type: ignore[arg-type]


def loss_of(a: nn.Module, b: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return b(a(x)).square().mean()


X = torch.linspace(-1, 1, 24).view(8, 3)


def test_it_moves_one_network_and_leaves_no_gradient() -> None:
    update, a, b = pair()
    before = [p.clone() for p in [*a.parameters(), *b.parameters()]]
    update(a, loss_of(a, b, X))
    assert all(not torch.equal(p, q) for p, q in zip(a.parameters(), before[:2], strict=True))
    assert all(torch.equal(p, q) for p, q in zip(b.parameters(), before[2:], strict=True))
    assert all(p.grad is None for p in [*a.parameters(), *b.parameters()])


def test_a_split_batch_has_the_gradient_and_the_step_of_the_whole() -> None:
    whole, a, b = pair()
    whole(a, loss_of(a, b, X))
    parts, a2, b2 = pair()
    for i in range(4):
        parts.part(i, 4)
        parts(a2, loss_of(a2, b2, X[i::4]))
    torch.testing.assert_close(parts.norms["a"], whole.norms["a"], rtol=1e-6, atol=0)
    torch.testing.assert_close(a2.weight, a.weight, rtol=1e-6, atol=1e-7)


def test_a_split_batch_refuses_two_updates_of_a_network() -> None:
    update, a, b = pair()
    update.part(0, 2)
    update(a, loss_of(a, b, X))
    with pytest.raises(UsageError, match="train.accumulate=1"):
        update(a, loss_of(a, b, X))


def test_clipping_bounds_the_gradient_that_adam_sees() -> None:
    """Adam's first moment after one step is (1 - beta1) times the clipped gradient."""
    update, a, b = pair(clip={"a": 0.01})
    update(a, loss_of(a, b, X))
    assert update.norms["a"] > 0.01  # as measured before
    moments = [s["exp_avg"] for s in update.optimizers["a"].state.values()]
    norm = torch.cat([m.flatten() for m in moments]).norm() / 0.5
    assert norm.item() == pytest.approx(0.01, rel=1e-3)


def test_amsgrad_never_divides_by_less() -> None:
    """A large gradient, then small ones: against the published recursion (as torch has it) in float64."""
    update, a, b = pair(amsgrad=True)
    first, second, most = (torch.zeros(2, 3, dtype=torch.float64) for _ in range(3))
    expected = a.weight.detach().double().clone()
    for t, size in enumerate([10.0, 0.1, 0.1, 0.1], 1):
        (gradient,) = torch.autograd.grad(size * loss_of(a, b, X), a.weight)
        first = 0.5 * first + 0.5 * gradient.double()
        second = 0.9 * second + 0.1 * gradient.double() ** 2
        most = torch.maximum(most, second)
        expected -= 0.1 * (first / (1 - 0.5**t)) / ((most / (1 - 0.9**t)).sqrt() + 1e-8)
        update(a, size * loss_of(a, b, X))
    assert (most > second).all()
    torch.testing.assert_close(a.weight.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_the_moving_average_against_its_recursion_in_float64() -> None:
    update, a, b = pair(ema={"a": 0.9})
    expected = a.weight.detach().double().clone()
    for t in range(200):
        update(a, loss_of(a, b, X))
        decay = min(0.9, t / (t + 10))
        expected = decay * expected + (1 - decay) * a.weight.detach().double()
    assert torch.allclose(update.averages["a"]["weight"].double(), expected, atol=1e-5)
    with update.looking():
        inside = a.weight.detach().clone()
        assert not a.training
    assert torch.equal(inside, update.averages["a"]["weight"]) and a.training
    assert not torch.equal(inside, a.weight)


def test_looking_restores_the_weights_bit_for_bit_also_after_an_error() -> None:
    update, a, b = pair(ema={"a": 0.9})
    update(a, loss_of(a, b, X))
    update(a, loss_of(a, b, X))
    before = a.weight.detach().clone()
    with pytest.raises(ValueError), update.looking():
        raise ValueError
    assert torch.equal(before, a.weight)


def test_buffers_of_the_average_are_copied() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    update = Update({"n": net}, Train(steps=1, lr={"n": 0.1}, betas={}, ema={"n": 0.99}, clip={}))
    update(net, net(X).square().sum())
    assert torch.equal(update.averages["n"]["1.running_mean"], net[1].running_mean)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_is_refused_by_name_before_adam_moves(what: str) -> None:
    update, a, b = pair()
    before = a.weight.detach().clone()
    loss = loss_of(a, b, X)
    bad = loss * float("nan") if what == "loss" else loss + (0 * a.weight.sum()).sqrt()
    with pytest.raises(NonFinite, match=f"the {what} of a"):
        update(a, bad)
    assert torch.equal(before, a.weight)
    assert not update.optimizers["a"].state


def test_without_raising_the_fused_step_leaves_it_out() -> None:
    """What happens on a GPU, where the host does not look at every step."""
    update, a, b = pair()
    update.raises = False
    update(a, loss_of(a, b, X))
    before = a.weight.detach().clone()
    update(a, loss_of(a, b, X) * float("nan"))
    assert torch.equal(before, a.weight) and not update.norms["a"].isfinite()
    update(a, loss_of(a, b, X))
    assert not torch.equal(before, a.weight) and a.weight.isfinite().all()


def test_loss_scaling_changes_no_step_and_leaves_out_an_overflow() -> None:
    plain, a, b = pair()
    scaled, a2, b2 = pair()
    scaled.scalers["a"] = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(3):
        plain(a, loss_of(a, b, X))
        scaled(a2, loss_of(a2, b2, X))
    assert torch.allclose(a.weight, a2.weight, atol=1e-6)
    before = a2.weight.detach().clone()
    scaled(a2, loss_of(a2, b2, X) * float("inf"))
    assert torch.equal(before, a2.weight)
    assert scaled.scalers["a"].get_scale() == 512.0


def test_an_overflow_of_loss_scaling_survives_a_checkpoint() -> None:
    update, a, b = pair()
    update.scalers["a"] = torch.amp.GradScaler("cpu", init_scale=1024.0)
    update(a, loss_of(a, b, X) * float("inf"))
    state = update.state()
    other, _, _ = pair()
    other.scalers["a"] = torch.amp.GradScaler("cpu", init_scale=8.0)
    other.load(state)
    assert other.scalers["a"].get_scale() == 512.0


def test_networks_that_descend_together_do_as_they_would_apart() -> None:
    """One pass backward for both, alone and in parts of a batch, against a pass for each."""
    apart, a, b = pair()
    loss = loss_of(a, b, X)
    grads = [torch.autograd.grad(loss, list(net.parameters()), retain_graph=True) for net in (a, b)]
    for net, some in zip((a, b), grads, strict=True):
        apart(net, sum((p * g).sum() for p, g in zip(net.parameters(), some, strict=True)))
    for parts in (1, 2):
        both, a2, b2 = pair()
        for i in range(parts):
            both.part(i, parts)
            both.together([a2, b2], loss_of(a2, b2, X[i::parts]))
        for mine, theirs in zip(
            [*a2.parameters(), *b2.parameters()], [*a.parameters(), *b.parameters()], strict=True
        ):
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)
        assert set(both.norms) == {"a", "b"} and both.counts == {"a": 1, "b": 1}


def test_what_overflows_together_is_left_out_of_both_and_scaled_down_once() -> None:
    update, a, b = pair()
    update.scalers["a"] = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = [p.detach().clone() for p in [*a.parameters(), *b.parameters()]]
    update.together([a, b], loss_of(a, b, X) * float("inf"))
    assert all(torch.equal(p, q) for p, q in zip([*a.parameters(), *b.parameters()], before, strict=True))
    assert update.scalers["a"].get_scale() == 512.0
    update.together([a, b], loss_of(a, b, X))
    assert not any(torch.equal(p, q) for p, q in zip([*a.parameters(), *b.parameters()], before, strict=True))


def test_a_network_goes_on_from_its_average() -> None:
    update, a, b = pair(ema={"a": 0.9})
    for _ in range(5):
        update.together([a, b], loss_of(a, b, X))
    raw = b.weight.detach().clone()
    assert not torch.equal(a.weight, update.averages["a"]["weight"])
    update.take_average(a)
    update.take_average(b)
    assert torch.equal(a.weight, update.averages["a"]["weight"]) and torch.equal(b.weight, raw)


def test_settings_must_name_the_networks() -> None:
    with pytest.raises(UsageError, match="needs a learning rate: --set train.lr.b"):
        pair(lr={"a": 0.1})
    with pytest.raises(UsageError, match="'sovler'.*'solver'"):
        Train(steps=1, lr={"sovler": 1.0}).fit(["solver"])


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"steps": 5, "minutes": 1.0},
        {"minutes": 0.0},
        {"steps": 1, "batch": 0},
        {"steps": 1, "accumulate": 0},
        {"steps": 1, "keep": 1},
        {"steps": 1, "lr": {"solver": 0.0}},
        {"steps": 1, "ema": {"solver": 1.0}},
        {"steps": 1, "decay": 2.0},
    ],
)
def test_settings_that_make_no_sense(settings: dict) -> None:
    with pytest.raises(UsageError, match=r"^[A-Z].*train\.|^train\."):
        Train(**settings)


def test_the_learning_rate_warms_up_stays_and_decays() -> None:
    rates = [factor(t, 1000, 20, 0.1) for t in range(1000)]
    assert rates[:20] == pytest.approx([(t + 1) / 20 for t in range(20)])
    assert set(rates[20:501]) == {1.0}
    assert rates[750] == pytest.approx(0.55)
    assert rates[-1] == pytest.approx(0.1, abs=0.002)
    assert factor(10**6, None, 20, 0.1) == 1.0


def test_pictures_come_early_and_then_regularly() -> None:
    assert [t for t in range(1201) if shows_pictures(t, 400)] == [10, 20, 50, 100, 200, 400, 800, 1200]


def test_a_run_by_the_clock() -> None:
    length = Length(minutes=2, total=None)
    assert not length.fix(90, 59.0) and length.fix(100, 60.5) and length.total == 200
    assert not length.fix(150, 90.0)
    assert not length.over(199, 121.0)
    assert length.over(200, 121.0) and length.over(150, 138.1)
    with pytest.raises(UsageError, match="--steps N or --minutes M"):
        Length.of(Train())


def test_an_optimizer_that_begins_anew_warms_up_anew() -> None:
    """The rate falls to 1/warmup at once, rises by as much an update, and no other network's changes."""
    nets = {"solver": nn.Linear(2, 1), "initializer": nn.Linear(2, 1)}
    update = Update(nets, Train(steps=100, warmup=4, lr={"solver": 1.0, "initializer": 1.0}))

    def rates() -> tuple[float, float]:
        solver, initializer = (update.optimizers[n].param_groups[0]["lr"] for n in nets)
        return solver, initializer

    def step() -> tuple[float, float]:
        update.set_rates(1.0, {})
        before = rates()
        for net in nets.values():
            update(net, net(torch.ones(1, 2)).sum())
        return before

    assert [step() for _ in range(2)] == [(1.0, 1.0)] * 2
    update.set_rates(1.0, {})
    update.restart(nets["solver"])
    assert rates() == (0.25, 1.0) and not update.optimizers["solver"].state
    for net in nets.values():
        update(net, net(torch.ones(1, 2)).sum())
    kept = update.state()
    assert [step()[0] for _ in range(4)] == [0.5, 0.75, 1.0, 1.0]
    update.load(kept)
    assert step() == (0.5, 1.0)
