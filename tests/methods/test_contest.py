"""The two players' turns: who learns what from whom, by plain computation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from redraft import losses
from redraft.augment import diff_augment, follow
from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.contest import LOSSES, Contest, Verdict, judge, persuade
from redraft.methods.gan import Gan
from redraft.methods.pix2pix import Pix2Pix
from redraft.methods.thinking import mispaired
from redraft.nets.decoder import Decoder
from redraft.nets.energy import GlobalEnergy, PatchEnergy
from redraft.nets.parts import Energy
from redraft.nets.style import Style
from redraft.nets.unet import UNet

SPECS = {
    "none": Spec(size=16, channels=1, condition="none"),
    "category": Spec(size=16, channels=1, condition="category", width=3),
    "picture": Spec(size=16, channels=3, condition="picture", width=2),
}


def discriminator(kind: str) -> Energy:
    torch.manual_seed(0)
    return PatchEnergy(SPECS[kind], 4) if kind == "picture" else GlobalEnergy(SPECS[kind], 4)


def batch(kind: str, n: int = 6) -> Pair:
    spec, g = SPECS[kind], stream(1)
    x = torch.rand(n, spec.channels, 16, 16, generator=g) * 2 - 1
    c = {
        "none": None,
        "category": torch.arange(n) % 3,
        "picture": torch.rand(n, 2, 16, 16, generator=g),
    }[kind]
    return Pair(c, x)


def made_of(pair: Pair) -> Tensor:
    return torch.tanh(torch.randn(pair.target.shape, generator=stream(3)))


def gradient(net: nn.Module, loss: Tensor) -> Tensor:
    grads = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
    return torch.cat([g.flatten() for g in grads if g is not None])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", SPECS)
def test_a_verdict_is_what_separate_passes_give(kind: str, loss: str) -> None:
    """Logits, loss and gradient, with every term on: one pass of real, made and wrongly paired pictures."""
    d, pair = discriminator(kind), batch(kind)
    (c, x), made = pair, made_of(pair)
    cfg = Contest(
        loss=loss,
        r1=0.3,
        gradient_penalty=0.7,
        drift=0.2,
        wrong_conditions=0.5,
        penalised=0.5,  # type: ignore[arg-type]
    )
    verdict = judge(d, x, made, c, cfg, BatchNoise(stream(5)))

    real, fake = d.logits(x, d.encode(c)), d.logits(made, d.encode(c))
    torch.testing.assert_close(verdict.real, real)
    torch.testing.assert_close(verdict.made, fake)
    total = LOSSES[loss].discriminator(real, fake)
    if kind != "none":
        total = total + 0.5 * LOSSES[loss].discriminator(real, d.logits(x, d.encode(c.roll(1, 0))))
    half = None if c is None else c[:3]

    def score(x: Tensor) -> Tensor:
        return d.logits(x, d.encode(half)).flatten(1).mean(1)

    share = torch.special.ndtr(BatchNoise(stream(5)).normal(6, 1, 1, 1))[:3]
    total = total + 0.3 * losses.r1(score, x[:3]) + 0.2 * score(x[:3]).square().mean()
    total = total + 0.7 * losses.gradient_penalty(score, made[:3] + share * (x[:3] - made[:3]))
    torch.testing.assert_close(verdict.loss, total)
    torch.testing.assert_close(gradient(d, verdict.loss), gradient(d, total), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", SPECS)
def test_both_players_see_the_augmented_pictures_of_one_draw(kind: str) -> None:
    d, pair = discriminator(kind), batch(kind)
    (c, x), made, cfg = pair, made_of(pair), Contest(diff_augment=True)
    u, v = (torch.rand(6, 7, generator=stream(s)) for s in (8, 9))
    verdict = judge(d, x, made, c, cfg, BatchNoise(stream(5)), (u, v))
    torch.testing.assert_close(verdict.real, d.logits(diff_augment(x, u), d.encode(follow(c, u))))
    seen = d.logits(diff_augment(made, v), d.encode(follow(c, v)))
    torch.testing.assert_close(verdict.made, seen)
    torch.testing.assert_close(persuade(d, made, c, cfg, v), losses.NONSATURATING.generator(seen))


@pytest.mark.parametrize("kind", SPECS)
def test_in_each_turn_one_player_learns(kind: str) -> None:
    d, pair = discriminator(kind), batch(kind)
    made = made_of(pair).requires_grad_()
    verdict = judge(d, pair.target, made, pair.condition, Contest(r1=0.1), BatchNoise(stream(5)))
    verdict.loss.backward()
    assert made.grad is None and all(p.grad is not None for p in d.parameters())
    d.zero_grad()
    persuade(d, made, pair.condition, Contest()).backward()
    assert made.grad is not None and made.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in d.parameters())


def test_a_discriminator_learns_again_after_a_turn_that_failed() -> None:
    d = discriminator("none")
    with pytest.raises(RuntimeError):
        persuade(d, torch.zeros(2, 7, 16, 16), None, Contest())
    assert all(p.requires_grad for p in d.parameters())


def test_told_apart_counts_pairs() -> None:
    real, made = torch.tensor([[1.0, 3.0], [0.0, 0.0], [-2.0, -4.0]]), torch.tensor([[1.0], [-1.0]])
    values = Verdict(torch.tensor(0.5), real, made).values(torch.tensor(0.7))
    # means of patches 2, 0, -3 against 1, -1: 2 > both, 0 > one of them
    assert values["told_apart"] == pytest.approx(3 / 6)
    assert values["energy_data"] == pytest.approx(1 / 3) and values["energy_draft"] == 0


def test_a_lone_picture_has_no_wrong_condition() -> None:
    d, pair = discriminator("category"), batch("category", 1)
    made, rng = made_of(pair), BatchNoise(stream(5))
    with_it = judge(d, pair.target, made, pair.condition, Contest(wrong_conditions=1.0), rng)
    without = judge(d, pair.target, made, pair.condition, Contest(), rng)
    assert torch.equal(with_it.loss, without.loss)


def test_a_wrong_condition_is_moved_as_its_picture_is() -> None:
    """Where all conditions are one, no code may tell a wrong one from the right one."""
    d, pair, u = discriminator("picture"), batch("picture"), torch.rand(6, 7, generator=stream(4))
    assert pair.condition is not None
    same = pair.condition[:1].expand(6, -1, -1, -1)
    for moved in (None, u):
        right = d.encode(same if moved is None else follow(same, moved))
        for mine, theirs in zip(mispaired(d, same, right, moved), right, strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    "wrong", [{"r1": -1}, {"drift": -0.1}, {"penalised": 0.0}, {"penalised": 1.5}, {"wrong_conditions": -1}]
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"method.{next(iter(wrong))}"):
        Contest(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["l1", "read_back"])
def test_impossible_weights_of_pix2pix_are_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match=f"method.{wrong}"):
        Pix2Pix.Config(**{wrong: -1.0})


# --- steps


class Recorder:
    """An ``update`` that keeps losses and gradients."""

    done = 0.0

    def __init__(self) -> None:
        self.calls: list[tuple[nn.Module, Tensor]] = []

    def __call__(self, net: nn.Module, loss: Tensor) -> None:
        self.calls.append((net, loss.detach()))
        loss.backward(inputs=list(net.parameters()))

    def restart(self, net: nn.Module) -> None:
        raise AssertionError("nothing is restarted")


def pix2pix(style: bool = False, **settings: object) -> Pix2Pix:
    spec = SPECS["picture"]
    d = discriminator("picture")
    generator = UNet(spec, 8, 4 if style else 0)
    taught = Style(3, 2, 4) if style else None
    if taught is not None:
        c, x = batch("picture")
        taught.fit(x, c)
    return Pix2Pix(Pix2Pix.Config(**settings), solver=d, initializer=generator, style=taught)  # type: ignore[arg-type]


def test_pix2pix_is_the_papers_loss() -> None:
    m, update, (c, x) = pix2pix(l1=100.0), Recorder(), batch("picture")
    m.step(Pair(c, x), update, BatchNoise(stream(2)))
    g = m.generator(BatchNoise(stream(2)).normal(6, *m.generator.z_shape), c)
    real, made = (
        m.discriminator.logits(x, m.discriminator.encode(c)),
        m.discriminator.logits(g, m.discriminator.encode(c)),
    )
    one = torch.ones_like(real)
    bce = nn.functional.binary_cross_entropy_with_logits
    torch.testing.assert_close(update.calls[0][1], bce(real, one) + bce(made, 0 * one))
    torch.testing.assert_close(update.calls[1][1], bce(made, one) + 100 * (x - g).abs().mean())
    assert [net for net, _ in update.calls] == [m.discriminator, m.generator]


def test_only_pictures_that_were_told_the_style_are_held_to_the_truth() -> None:
    """The first half of the batch is told; the rest keeps its free z and is read back alone."""
    m, (c, x) = pix2pix(style=True, l1=2.0, read_back=3.0), batch("picture")
    made, own = m.propose(Pair(c, x), BatchNoise(stream(2)))
    free = BatchNoise(stream(2)).normal(6, *m.generator.z_shape)
    z = free.clone()
    z[:3, :4] = m.style(x, c)[:3]
    torch.testing.assert_close(made, m.generator(z, c))
    back = (m.style(made, c) - z[:, :4]).square().mean()
    torch.testing.assert_close(own, 2 * (x[:3] - made[:3]).abs().mean() + 3 * back)
    moved = x.clone()
    moved[3:] = moved[3:].flip(3)
    torch.testing.assert_close(m.propose(Pair(c, moved), BatchNoise(stream(2)))[1], own)


def gan(**settings: object) -> Gan:
    d = discriminator("category")
    return Gan(Gan.Config(**settings), solver=d, initializer=Decoder(SPECS["category"], 4, 4))  # type: ignore[arg-type]


def test_a_gan_plays_one_turn_each() -> None:
    m, update, pair = gan(r1=0.0), Recorder(), batch("category")
    values = m.step(pair, update, BatchNoise(stream(2)))
    assert [net for net, _ in update.calls] == [m.discriminator, m.generator]
    assert all(p.grad is not None for p in m.parameters())
    assert {"loss_solver", "loss_initializer", "energy_data", "energy_draft", "told_apart"} == set(values)
    assert all(v.ndim == 0 and v.isfinite() for v in values.values())


def test_with_ada_the_chance_is_a_third_network() -> None:
    m, update = gan(ada=0.6), Recorder()
    values = m.step(batch("category"), update, BatchNoise(stream(2)))
    assert list(m.networks) == ["solver", "initializer", "augmentation"]
    assert [net for net, _ in update.calls][2] is m.networks["augmentation"] and values["augmented"] == 0


def test_at_no_chance_nothing_is_augmented_and_at_full_chance_all() -> None:
    def loss(p: float, **settings: object) -> Tensor:
        m, update = gan(**settings), Recorder()
        if m.chance is not None:
            nn.init.constant_(m.chance.p, p)
        m.step(batch("category"), update, BatchNoise(stream(2)))
        return update.calls[0][1]

    plain, off, full = loss(0), loss(0, ada=0.6), loss(1, ada=0.6)
    torch.testing.assert_close(off, plain)
    assert (full - plain).abs() > 1e-5


@pytest.mark.parametrize("style", [False, True])
def test_refining_by_the_discriminator_is_on_demand(style: bool) -> None:
    m, (c, _) = pix2pix(style), batch("picture")
    plain = m.generate(c, 6, PictureNoise(0, range(6)))
    assert m.refine_steps == 0 and torch.equal(plain.images, plain.drafts)
    chain = replace(m.cfg.langevin, drift_clip=None, smooth=0.0, relative=0.001)
    m.cfg = replace(m.cfg, langevin=chain)
    refined = m.generate(c, 6, PictureNoise(0, range(6)), refine=5)
    torch.testing.assert_close(refined.drafts, plain.drafts)
    assert (refined.energies < refined.draft_energies).all()
    torch.testing.assert_close(refined.draft_energies, m.energy(plain.drafts, c))
