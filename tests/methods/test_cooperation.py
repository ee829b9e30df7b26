"""The promises of a step: who is updated on what, and what the condition changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopnets import CoopNets
from redraft.nets.decoder import Decoder
from redraft.nets.energy import GlobalEnergy, PatchEnergy
from redraft.nets.style import Style
from redraft.nets.unet import UNet
from redraft.sampling.langevin import Langevin
from redraft.sampling.latent import Latent
from redraft.sampling.pool import Pool

SPECS = {
    "none": Spec(size=16, channels=1, condition="none"),
    "category": Spec(size=16, channels=1, condition="category", width=3),
    "picture": Spec(size=16, channels=3, condition="picture", width=2),
}


def method(kind: str, **settings: object) -> CoopNets | CCoopNets:
    spec = SPECS[kind]
    torch.manual_seed(0)
    solver = PatchEnergy(spec, 4) if kind == "picture" else GlobalEnergy(spec, 4)
    initializer = UNet(spec, 8, 4) if kind == "picture" else Decoder(spec, 4, 4)
    cls = CoopNets if kind == "none" else CCoopNets
    chain = settings.pop("langevin", Langevin(steps=2))
    pool = Pool(spec, 12) if settings.get("persistent") else None
    cfg = cls.Config(langevin=chain, **settings)
    return cls(cfg, solver=solver, initializer=initializer, pool=pool)


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

    def __init__(self) -> None:
        self.calls: list[tuple[nn.Module, Tensor]] = []

    def __call__(self, net: nn.Module, loss: Tensor) -> None:
        self.calls.append((net, loss))
        loss.backward(inputs=list(net.parameters()))


def step(kind: str, **settings: object) -> tuple[CoopNets | CCoopNets, Recorder, dict[str, Tensor]]:
    m, update = method(kind, **settings), Recorder()
    values = m.step(batch(kind), update, BatchNoise(stream(2)))
    return m, update, values


@pytest.mark.parametrize("kind", SPECS)
def test_the_solver_learns_first_then_the_initializer_and_nothing_else(kind: str) -> None:
    m, update, values = step(kind)
    assert [net for net, _ in update.calls] == [m.solver, m.initializer]
    assert all(v.ndim == 0 and torch.isfinite(v) for v in values.values())
    assert {"energy_data", "energy_draft", "energy_refined", "move", "drift"} <= set(values)
    assert all(p.grad is not None and p.requires_grad for p in m.parameters())


@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("kind", SPECS)
def test_the_solver_loss_is_the_sum_of_its_equations(kind: str, saturate: bool) -> None:
    quiet = {"data_noise": 0.0, "langevin": Langevin(steps=0), "saturate": saturate}
    if kind != "none":
        quiet["wrong_conditions"] = 0.5
    m, update, _ = step(kind, energy_magnitude=0.2, **quiet)
    c, x = batch(kind)
    z = BatchNoise(stream(2)).normal(len(x), *m.initializer.z_shape)
    draft = m.initializer(z, c)
    data, model = m.energy(x, c), m.energy(draft, c)
    parts = [data, model]
    loss = data.mean() - model.mean()
    if saturate:
        loss = 2 * torch.nn.functional.softplus(data - model).mean()
    if kind != "none":
        wrong = m.energy(x, c.roll(1, 0))
        parts.append(wrong)
        differ = (c != c.roll(1, 0)).flatten(1).any(1) if kind == "picture" else c != c.roll(1, 0)
        loss = loss + 0.5 * 2 * (torch.nn.functional.softplus(data - wrong) * differ).mean()
    loss = loss + 0.2 * torch.cat(parts).square().mean()
    torch.testing.assert_close(update.calls[0][1].detach(), loss.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["category", "picture"])
def test_wrong_conditions_are_really_wrong_and_teach_the_solver_to_tell(kind: str) -> None:
    """After training on mismatch alone, right conditions have lower energy on the pictures trained on."""
    m = method(kind, wrong_conditions=4.0, data_noise=0.0, langevin=Langevin(steps=0), energy_magnitude=0.0)
    pair = batch(kind)
    adam = torch.optim.Adam(m.solver.parameters(), 3e-3)

    def update(net: nn.Module, loss: Tensor) -> None:
        if net is m.solver:
            adam.zero_grad()
            loss.backward(inputs=list(net.parameters()))
            adam.step()

    for t in range(80):
        m.step(pair, update, BatchNoise(stream(t)))
    right, wrong = m.energy(pair.target, pair.condition), m.energy(pair.target, pair.condition.roll(1, 0))
    before = method(kind)
    gap = before.energy(pair.target, pair.condition.roll(1, 0)) - before.energy(pair.target, pair.condition)
    assert (wrong - right).mean() > 10 * gap.abs().max() and (right < wrong).sum() >= 4


def test_teaching_has_the_papers_scale() -> None:
    m, update, _ = step("category", sigma=0.3, langevin=Langevin(steps=1))
    c, x = batch("category")
    rng = BatchNoise(stream(2))
    draft = m.initializer(rng.normal(len(x), *m.initializer.z_shape), c)
    from redraft.methods.thinking import think

    slow = think(m.solver, draft, c, m.cfg.langevin, rng, keep=lambda x, c: x).x
    loss = ((slow - draft) ** 2).sum((1, 2, 3)).mean() / (2 * 0.3**2)
    torch.testing.assert_close(update.calls[1][1].detach(), loss.detach(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize(
    "settings",
    [{"latent": Latent(steps=2)}, {"diff_augment": True}, {"persistent": 0.5}],
    ids=["latent", "diff_augment", "persistent"],
)
def test_every_switch_changes_the_step(kind: str, settings: dict) -> None:
    def twice(**settings: object) -> Tensor:
        m, update = method(kind, **settings), Recorder()
        m.solver.requires_grad_(True)
        for t in range(3):  # a pool is empty at first
            m.step(batch(kind), update, BatchNoise(stream(t)))
        return torch.cat([p.grad.flatten() for p in m.parameters()])

    assert not torch.allclose(twice(), twice(**settings), rtol=1e-4, atol=1e-9)


def styled(l1: float = 0.0) -> CCoopNets:
    m = method("picture", truth_l1=l1, langevin=Langevin(steps=0))
    m.style = Style(3, 2, m.initializer.style)
    c, x = batch("picture")
    m.style.fit(x, c)
    return m


def test_only_drafts_that_were_told_the_style_of_the_truth_are_held_to_it() -> None:
    m, pair = styled(l1=2.0), batch("picture")
    z, told = m._latents(pair.target, pair.condition, BatchNoise(stream(2)))
    free = BatchNoise(stream(2)).normal(6, *m.initializer.z_shape)
    assert told == slice(3)
    code = m.style(pair.target, pair.condition)
    torch.testing.assert_close(z[:3, :4], code[:3])
    assert torch.equal(z[3:], free[3:]) and torch.equal(z[:3, 4:], free[:3, 4:])
    update = Recorder()
    m.step(pair, update, BatchNoise(stream(2)))
    draft = m.initializer(z, pair.condition)
    l1 = 2.0 * (pair.target[:3] - draft[:3]).abs().sum((1, 2, 3)).mean()
    back = 3 * 16 * 16 * (m.style(draft, pair.condition) - z[:, :4]).square().mean()
    torch.testing.assert_close(update.calls[1][1].detach(), (l1 + back).detach(), rtol=1e-4, atol=1e-4)


def test_truth_l1_pulls_to_the_truth() -> None:
    _, plain, _ = step("picture")
    m, pulled, _ = step("picture", truth_l1=2.0)
    c, x = batch("picture")
    draft = m.initializer(BatchNoise(stream(2)).normal(len(x), *m.initializer.z_shape), c)
    expected = 2.0 * (x - draft).abs().sum((1, 2, 3)).mean()
    torch.testing.assert_close((pulled.calls[1][1] - plain.calls[1][1]).detach(), expected.detach())


@pytest.mark.parametrize("kind", SPECS)
def test_a_picture_does_not_depend_on_its_batch(kind: str) -> None:
    m, pair = method(kind, langevin=Langevin(steps=3, noise=0.01)), batch(kind)
    together = m.generate(pair.condition, 6, PictureNoise(5, range(6)))
    for i in range(6):
        c = None if pair.condition is None else pair.condition[i : i + 1]
        alone = m.generate(c, 1, PictureNoise(5, [i]))
        torch.testing.assert_close(alone.images[0], together.images[i], rtol=1e-4, atol=1e-5)


def test_refine_zero_is_the_draft_and_steps_lower_the_energy() -> None:
    m, pair = method("category"), batch("category")
    still = m.generate(pair.condition, 6, PictureNoise(0, range(6)), refine=0)
    assert torch.equal(still.images, still.drafts) and torch.equal(still.energies, still.draft_energies)
    m.cfg = replace(m.cfg, langevin=Langevin(drift_clip=None, smooth=0.0))
    moved = m.generate(pair.condition, 6, PictureNoise(0, range(6)), refine=20, trace=True)
    assert (moved.energies < moved.draft_energies).all() and len(moved.trace) == 21
    assert all(p.requires_grad for p in m.solver.parameters())
