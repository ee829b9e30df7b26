"""CoopInit: a cooperative stage by hand, one hand-over, then the plain method; chains of relative step."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.coopinit import CoopInit
from redraft.methods.gan import Gan
from redraft.methods.method import keep_nothing
from redraft.methods.thinking import think
from redraft.nets.decoder import Decoder
from redraft.nets.energy import GlobalEnergy
from redraft.nets.parts import Energy, Initializer
from redraft.recipes import build, modern
from redraft.sampling.langevin import Langevin, langevin
from redraft.tasks.none import Nothing
from redraft.training import Train, train
from redraft.training.schedule import factor
from redraft.training.update import Update

SPEC = Spec(size=16, channels=1, condition="none")


def networks() -> tuple[Energy, Initializer]:
    torch.manual_seed(0)
    return GlobalEnergy(SPEC, 4), Decoder(SPEC, 4, 4)


def gan(**settings: object) -> Gan:
    solver, initializer = networks()
    return Gan(Gan.Config(**settings), solver=solver, initializer=initializer)  # type: ignore[arg-type]


def batch_at(t: int, n: int = 6) -> Pair:
    return Pair(None, torch.rand(n, 1, 16, 16, generator=stream(1, t)) * 2 - 1)


class Recorder:
    """An ``update`` at a place of the training, which keeps losses, gradients and restarts."""

    def __init__(self, done: float) -> None:
        self.done = done
        self.calls: list[tuple[nn.Module, Tensor]] = []
        self.restarted: list[nn.Module] = []

    def __call__(self, net: nn.Module, loss: Tensor) -> None:
        self.calls.append((net, loss.detach()))
        loss.backward(inputs=list(net.parameters()))

    def restart(self, net: nn.Module) -> None:
        self.restarted.append(net)


def test_without_a_share_it_is_not_built() -> None:
    run = modern(Nothing(size=16, channels=1), "gan", 100)
    assert type(build(run)) is Gan
    with_it = build(run.override(["coopinit.share=0.1"]))
    assert type(with_it) is CoopInit and type(with_it.adversarial) is Gan
    assert type(build(modern(Nothing(size=16, channels=1), "coopinit", 100))) is CoopInit
    with pytest.raises(UsageError, match="coopinit.share is for the adversarial"):
        modern(Nothing(size=16, channels=1), "coopnets", 100).override(["coopinit.share=0.1"])


@pytest.mark.parametrize(
    "wrong", [{"share": 1.5}, {"share": -0.1}, {"sigma": 0.0}, {"langevin": Langevin(steps=0)}]
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match=f"coopinit.{next(iter(wrong))}"):
        CoopInit.Config(**wrong)


@pytest.mark.parametrize("r1", [0.0, 0.3])
def test_the_cooperative_stage_by_hand(r1: float) -> None:
    """Draft, revise by hand-written gradient steps, then both losses."""
    chain = Langevin(steps=3, relative=0.02, drift_clip=None, smooth=0.0, clamp=False)
    m = CoopInit(CoopInit.Config(share=0.5, langevin=chain, sigma=0.1, energy_magnitude=0.2), gan(r1=r1))
    update, (c, x) = Recorder(0.0), batch_at(0)
    values = m.step(Pair(c, x), update, BatchNoise(stream(2)))
    assert m.stage == "cooperative" and [n for n, _ in update.calls] == list(m.networks.values())

    d, g = networks()
    x_hat = g(BatchNoise(stream(2)).normal(6, *g.z_shape), None)
    y = x_hat.detach()
    for k in range(3):
        here = y.clone().requires_grad_()
        (slope,) = torch.autograd.grad(-d.logits(here, ()).sum(), here)
        if k == 0:
            rate = 0.02 / slope.square().mean((1, 2, 3), keepdim=True).sqrt()
        y = y - rate * slope
    e_data, e_model = d(x, ()), d(y, ())
    solver = e_data.mean() - e_model.mean() + 0.2 * torch.cat([e_data, e_model]).square().mean()
    if r1:
        here = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(d(here, ()).sum(), here)
        solver = solver + r1 * 0.5 * slope.square().sum((1, 2, 3)).mean()
    initializer = (y - x_hat).square().mean() / (2 * 0.1**2)
    torch.testing.assert_close(update.calls[0][1], solver.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(update.calls[1][1], initializer.detach(), rtol=1e-4, atol=1e-6)
    initializer.backward(inputs=list(g.parameters()))
    for mine, hand in zip(m.adversarial.generator.parameters(), g.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, hand.grad, rtol=1e-3, atol=1e-6)
    assert values["drift"].item() == pytest.approx(0.02, rel=1e-4) and values["move"] > 0.02


class Bowl(Energy):
    """E(x) = ½ mean (x − m)²: what pulls pictures to a known one."""

    def __init__(self) -> None:
        super().__init__()
        self.middle = nn.Parameter(torch.linspace(-0.5, 0.5, 16).view(1, 1, 4, 4))

    def encode(self, c: object) -> tuple[Tensor, ...]:
        return ()

    def forward(self, x: Tensor, code: tuple[Tensor, ...]) -> Tensor:
        return 0.5 * (x - self.middle).square().flatten(1).mean(1)


class Free(Initializer):
    """One picture, free in every pixel."""

    z_shape = (2,)

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.zeros(1, 1, 4, 4))

    def forward(self, z: Tensor, c: object) -> Tensor:
        return self.picture.expand(len(z), -1, -1, -1)


def test_teaching_moves_drafts_to_where_the_energy_is_low() -> None:
    energy, free = Bowl(), Free()
    middle = energy.middle.detach().clone()
    m = CoopInit(
        CoopInit.Config(share=1.0, langevin=Langevin(steps=5, relative=0.02, smooth=0.0)),
        Gan(Gan.Config(r1=0.0), solver=energy, initializer=free),
    )
    adam, distances = torch.optim.SGD(free.parameters(), 0.01), []

    class OnlyTheGenerator(Recorder):
        def __call__(self, net: nn.Module, loss: Tensor) -> None:
            if net is free:
                adam.zero_grad()
                loss.backward(inputs=list(net.parameters()))
                adam.step()

    for t in range(60):
        distances.append(float((free.picture.detach() - middle).norm()))
        m.step(Pair(None, torch.zeros(4, 1, 4, 4)), OnlyTheGenerator(0.0), BatchNoise(stream(t)))
    assert all(b < a for a, b in zip(distances[:8], distances[1:9], strict=True))
    assert max(distances[-10:]) < 0.2 * distances[0]


@pytest.mark.parametrize("optimizers", ["reset", "keep"])
def test_the_hand_over_is_once_and_resets_once(optimizers: str) -> None:
    m = CoopInit(CoopInit.Config(share=0.5, optimizers=optimizers), gan())  # type: ignore[arg-type]
    stages, restarted = [], []
    for t in range(8):
        update = Recorder(t / 8)
        m.step(batch_at(t), update, BatchNoise(stream(t)))
        stages.append(m.stage)
        restarted.append(len(update.restarted))
    assert stages == ["cooperative"] * 4 + ["adversarial"] * 4
    assert restarted == [0, 0, 0, 0, 2 if optimizers == "reset" else 0, 0, 0, 0]
    resumed = CoopInit(CoopInit.Config(share=0.5), gan())
    resumed.load_state_dict(m.state_dict())
    update = Recorder(0.9)
    resumed.step(batch_at(9), update, BatchNoise(stream(9)))
    assert not update.restarted and resumed.stage == "adversarial"


def test_after_a_reset_it_is_the_plain_method_step_for_step() -> None:
    """From the weights at the hand-over, with fresh optimizers and a new warm-up: bit for bit."""
    cfg = Train(steps=10, warmup=3, lr={"solver": 1e-3, "initializer": 2e-3})
    m = CoopInit(CoopInit.Config(share=0.5), gan())
    update = Update(m.networks, cfg)
    for t in range(10):
        update.done = t / 10
        update.set_rates(1.0, {})
        if t == 5:
            plain = copy.deepcopy(m.adversarial)
        m.step(batch_at(t), update, BatchNoise(stream(t)))
    assert m.stage == "adversarial"
    fresh = Update(plain.networks, cfg)
    for t in range(5, 10):
        fresh.set_rates(factor(t - 5, None, cfg.warmup, 0.1), {})
        plain.step(batch_at(t), fresh, BatchNoise(stream(t)))
    for mine, its in zip(m.adversarial.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_stages_are_told_and_drawn(tmp_path: Path) -> None:
    m = CoopInit(CoopInit.Config(share=0.25), gan())
    drawn: list[str] = []

    def draw(method: nn.Module) -> Tensor:
        drawn.append(method.stage)  # type: ignore[arg-type]
        return torch.zeros(3, 4, 4)

    cfg = Train(steps=16, batch=6, checkpoint_every=100, sample_every=1000)
    outcome = train(m, batch_at, cfg, tmp_path / "run", draw=draw)
    words = "The cooperative stage ends at step 4; the adversarial stage begins."
    assert outcome.events == (words,) and words in (tmp_path / "run" / "events.log").read_text()
    names = sorted(p.name for p in (tmp_path / "run" / "samples").iterdir())
    assert names == [f"step_{t:08d}.png" for t in (5, 10, 16)] and set(drawn) == {"adversarial"}
    head, *rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    columns = head.split(",")
    moves = [row.split(",")[columns.index("move")] for row in rows]
    told = [row.split(",")[columns.index("told_apart")] for row in rows]
    assert all(moves[:4]) and not any(moves[4:]) and not any(told[:4]) and all(told[4:])


def test_what_it_makes_and_scores_is_the_methods_own() -> None:
    m = CoopInit(CoopInit.Config(share=0.5), gan())
    noise, x = PictureNoise(0, range(3)), batch_at(0, 3).target
    assert torch.equal(
        m.generate(None, 3, noise).images, m.adversarial.generate(None, 3, PictureNoise(0, range(3))).images
    )
    assert torch.equal(m.energy(x, None), m.adversarial.energy(x, None)) and m.refine_steps == 0


# --- Langevin.relative

PLAIN = Langevin(steps=4, relative=0.03, drift_clip=None, clamp=False, smooth=0.0)


def chain(scale: float, x: Tensor, cfg: Langevin = PLAIN) -> Tensor:
    d, _ = networks()
    d.double()
    return langevin(lambda x: scale * d(x, ()), x, cfg, BatchNoise(stream(0))).x


def test_the_first_move_of_every_picture_has_the_wanted_length() -> None:
    x = torch.rand(5, 1, 16, 16, generator=stream(1), dtype=torch.float64) * torch.tensor(
        [0.1, 0.5, 1.0, 1.5, 2.0]
    ).view(5, 1, 1, 1)
    moved = chain(1.0, x, replace(PLAIN, steps=1)) - x
    torch.testing.assert_close(moved.square().mean((1, 2, 3)).sqrt(), torch.full((5,), 0.03).double())


def test_the_scale_of_the_energy_does_not_matter() -> None:
    x = torch.rand(5, 1, 16, 16, generator=stream(1), dtype=torch.float64)
    torch.testing.assert_close(chain(1000.0, x), chain(1.0, x), rtol=0, atol=1e-10)
    fixed = replace(PLAIN, relative=0.0, delta=0.5)
    assert not torch.allclose(chain(1000.0, x, fixed), chain(1.0, x, fixed), atol=1e-3)


def test_a_picture_does_not_depend_on_its_batch() -> None:
    x = torch.rand(5, 1, 16, 16, generator=stream(1), dtype=torch.float64)
    alone = torch.cat([chain(1.0, x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(alone, chain(1.0, x), rtol=0, atol=1e-10)


def test_the_rate_is_fixed_at_the_draft_so_that_a_chain_comes_to_rest() -> None:
    energy, x = Bowl(), torch.zeros(2, 1, 4, 4)
    cfg = Langevin(steps=200, relative=0.02, drift_clip=None, clamp=False, smooth=0.0)
    end = think(energy, x, None, cfg, BatchNoise(stream(0)), keep=keep_nothing).x
    torch.testing.assert_close(end, energy.middle.detach().expand(2, -1, -1, -1), rtol=0, atol=1e-4)


def test_a_flat_energy_moves_nothing_and_breaks_nothing() -> None:
    x = torch.rand(2, 1, 4, 4, generator=stream(1))
    end = langevin(lambda x: 0 * x.flatten(1).sum(1), x, PLAIN, BatchNoise(stream(0))).x
    assert torch.equal(end, x)
