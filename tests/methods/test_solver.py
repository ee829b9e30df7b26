"""A solver for an initializer that is there already: what it learns, and what stays as it is."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopnets import CoopNets
from redraft.methods.solver import Solver
from redraft.nets.classic import classic_solver
from redraft.nets.decoder import Decoder
from redraft.nets.energy import GlobalEnergy, PatchEnergy
from redraft.nets.parts import Energy, Initializer
from redraft.nets.unet import UNet
from redraft.sampling.langevin import Langevin

SPECS = {
    "none": Spec(size=16, channels=1, condition="none"),
    "category": Spec(size=16, channels=1, condition="category", width=3),
    "picture": Spec(size=16, channels=3, condition="picture", width=2),
}
CHAIN = Langevin(steps=2, noise=0.01)


def networks(kind: str) -> tuple[Energy, Initializer]:
    spec = SPECS[kind]
    torch.manual_seed(0)
    if kind == "picture":
        return PatchEnergy(spec, 4), UNet(spec, 8, 4)
    return GlobalEnergy(spec, 4), Decoder(spec, 4, 4)


def batch(kind: str, n: int = 6) -> Pair:
    spec, g = SPECS[kind], stream(1)
    x = torch.rand(n, spec.channels, 16, 16, generator=g) * 2 - 1
    c = {
        "none": None,
        "category": torch.arange(n) % 3,
        "picture": torch.rand(n, 2, 16, 16, generator=g),
    }[kind]
    return Pair(c, x)


class Recorder:
    """An ``update`` that keeps what it is given, and the gradients it would apply."""

    done = 0.0

    def __init__(self) -> None:
        self.calls: list[tuple[nn.Module, Tensor]] = []

    def __call__(self, net: nn.Module, loss: Tensor) -> None:
        self.calls.append((net, loss.detach()))
        loss.backward(inputs=list(net.parameters()))

    def restart(self, net: nn.Module) -> None:
        raise AssertionError("nothing is restarted")


def stepped(kind: str, **settings: object) -> tuple[Solver, Recorder, dict[str, Tensor]]:
    solver, initializer = networks(kind)
    method, update = (
        Solver(Solver.Config(langevin=CHAIN, **settings), solver=solver, initializer=initializer),
        Recorder(),
    )
    return method, update, method.step(batch(kind), update, BatchNoise(stream(2)))


@pytest.mark.parametrize("kind", SPECS)
def test_only_the_solver_learns(kind: str) -> None:
    method, update, values = stepped(kind)
    assert list(method.networks) == ["solver"] and [net for net, _ in update.calls] == [method.solver]
    assert all(p.grad is None and not p.requires_grad for p in method.initializer.parameters())
    assert all(p.grad is not None for p in method.solver.parameters())
    assert {"energy_data", "energy_draft", "energy_refined", "move", "drift"} <= set(values)
    assert all(v.ndim == 0 and torch.isfinite(v) for v in values.values())


@pytest.mark.parametrize("kind", SPECS)
def test_with_teaching_it_is_the_papers_step(kind: str) -> None:
    """CCoopNets' or CoopNets', from the same weights: losses and gradients of both networks."""
    method, update, _ = stepped(kind, teach=True, diff_augment=True)
    solver, initializer = networks(kind)
    paper = CoopNets if kind == "none" else CCoopNets
    other = paper(paper.Config(langevin=CHAIN, diff_augment=True), solver=solver, initializer=initializer)
    theirs = Recorder()
    other.step(batch(kind), theirs, BatchNoise(stream(2)))
    assert list(method.networks) == list(other.networks)
    for (_, mine), (_, wanted) in zip(update.calls, theirs.calls, strict=True):
        torch.testing.assert_close(mine, wanted)
    for mine, wanted in zip(method.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, wanted.grad)


def test_without_teaching_the_solver_learns_the_same() -> None:
    alone, taught = stepped("picture")[1], stepped("picture", teach=True)[1]
    assert torch.equal(alone.calls[0][1], taught.calls[0][1]) and len(taught.calls) == 2


def test_drafts_are_the_initializers_own() -> None:
    solver, initializer = networks("picture")
    before = copy.deepcopy(initializer)
    method = Solver(Solver.Config(langevin=CHAIN), solver=solver, initializer=initializer)
    c = batch("picture").condition
    made = method.generate(c, 6, PictureNoise(0, range(6)))
    z = PictureNoise(0, range(6)).normal(6, *before.z_shape)
    assert torch.equal(made.drafts, before(z, c)) and method.refine_steps == 2
    assert not torch.equal(made.images, made.drafts)
    torch.testing.assert_close(made.energies, method.energy(made.images, c))


def test_what_the_condition_fixes_stays() -> None:
    solver, initializer = networks("picture")

    def keep(x: Tensor, c: Tensor) -> Tensor:
        return torch.cat([c[:, :1], x[:, 1:]], 1)

    method = Solver(Solver.Config(langevin=CHAIN), solver=solver, initializer=initializer, keep=keep)
    c = batch("picture").condition
    made = method.generate(c, 6, PictureNoise(0, range(6)))
    assert torch.equal(made.images[:, :1], c[:, :1]) and torch.equal(made.drafts[:, :1], c[:, :1])


@pytest.mark.parametrize("classic", [False, True])
def test_a_solver_that_sees_no_condition_has_no_wrong_ones(classic: bool) -> None:
    """As where two sides have no pairs: the initializer starts from a picture that it does not see."""
    _, initializer = networks("picture")
    alone = Spec(size=16, channels=3, condition="none")
    blind = classic_solver(alone) if classic else GlobalEnergy(alone, 4)
    method = Solver(Solver.Config(langevin=CHAIN), solver=blind, initializer=initializer)
    c, x = batch("picture")
    values = method.step(Pair(c, x), Recorder(), BatchNoise(stream(2)))
    assert "energy_wrong" not in values
    assert torch.equal(method.energy(x, c), method.energy(x, c.flip(0)))


class Frozen(Initializer):
    """As an ONNX file: no weights."""

    z_shape = (0,)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return c[:, :1].repeat(1, 3, 1, 1)


def test_what_has_no_weights_can_be_refined_but_not_taught() -> None:
    solver, _ = networks("picture")
    method = Solver(Solver.Config(langevin=CHAIN), solver=solver, initializer=Frozen())
    method.step(batch("picture"), Recorder(), BatchNoise(stream(2)))
    with pytest.raises(UsageError, match="no weights that could learn"):
        Solver(Solver.Config(teach=True), solver=solver, initializer=Frozen())


def test_a_solver_learns_to_lower_the_energy_of_the_data() -> None:
    """The fixed initializer's drafts come to be scored worse than the data, and refined ones better."""
    solver, initializer = networks("category")
    method = Solver(
        Solver.Config(langevin=Langevin(steps=4, drift_clip=None)), solver=solver, initializer=initializer
    )
    adam = torch.optim.Adam(method.solver.parameters(), 2e-3)

    def update(net: nn.Module, loss: Tensor) -> None:
        adam.zero_grad()
        loss.backward(inputs=list(net.parameters()))
        adam.step()

    pair = batch("category")
    for t in range(40):
        method.step(pair, update, BatchNoise(stream(t)))
    made = method.generate(pair.condition, 6, PictureNoise(9, range(6)))
    data = method.energy(pair.target, pair.condition)
    assert data.mean() < made.draft_energies.mean() and (made.energies < made.draft_energies).all()
