"""PITI's fourth stage: what it is taught, what its losses look at, what it leaves alone, what it makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.methods.test_piti import Killed, differing, settings, state
from tests.methods.toy_upsampler import batch_at, distance, method, upsampler
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.core.types import Pair
from redraft.degrade import Degradation, degraded
from redraft.methods.piti import LAST, STAGES, Piti
from redraft.methods.upsampler import DETAIL, Upsampler, Upsampling, quantised
from redraft.training import train
from redraft.training.parts import learn
from redraft.training.update import Update

pytest.importorskip("diffusers", reason="an extra: redraft[diffusion]")

NONE = Degradation(blur=0, resample=0, noise=0, jpeg=0)
RATES = dict.fromkeys(("encoder", "initializer", "upsampler_encoder", "upsampler", "critic"), 1e-3)


class Looker:
    """An update that moves nothing, and keeps what it is asked for."""

    done = 0.0

    def __init__(self) -> None:
        self.losses: dict[int, Tensor] = {}
        self.slopes: dict[int, list[Tensor]] = {}

    def __call__(self, net: nn.Module, loss: Tensor) -> None:
        self.together([net], loss)

    def together(self, nets: list[nn.Module], loss: Tensor) -> None:
        for net in nets:
            self.losses[id(net)] = loss.detach()
            some = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True, allow_unused=True)
            self.slopes[id(net)] = [g for g in some if g is not None]


def looked(up: Upsampler, done: float, seed: int = 5) -> Looker:
    update = Looker()
    up.step(batch_at(0), update, BatchNoise(stream(seed)), done)  # type: ignore[arg-type]
    return update


def test_the_denoising_error_against_its_formula_in_float64() -> None:
    up = upsampler(adversarial=0, perceptual=0).double()
    c, x = (v.double() for v in batch_at(0) if v is not None)
    update, noise = Looker(), BatchNoise(stream(5))
    up.step(Pair(c, x), update, BatchNoise(stream(5)), 0.5)  # type: ignore[arg-type]
    low = degraded(F.avg_pool2d(x, 2), up.cfg.degraded, noise)
    t = (torch.special.ndtr(noise.normal(4, 1)[:, 0]) * 100).long()
    eps = noise.normal(4, 1, 16, 16).double()
    alpha, sigma = (v[t].view(-1, 1, 1, 1) for v in (up.process.alpha, up.process.sigma))
    beside = F.interpolate((127.5 * (low + 1)).round() / 127.5 - 1, scale_factor=2, mode="bilinear")
    tokens = up.encoder(c)
    predicted = up.denoiser(
        alpha * x + sigma * eps, t, tokens[:, :-1], tokens[:, -1], up.encoder.hint(c), beside
    )
    x_t = alpha * x + sigma * eps  # with a normal law about what is beside: its posterior's mean
    clean = (x_t * alpha / sigma**2 + beside / DETAIL**2) / (alpha**2 / sigma**2 + 1 / DETAIL**2)
    predicted = predicted + (alpha * x_t - clean) / sigma
    wanted = (predicted - (alpha * eps - sigma * x)).square().mean()
    torch.testing.assert_close(update.losses[id(up.denoiser)], wanted, rtol=1e-6, atol=0)
    assert update.losses.keys() == {id(up.denoiser), id(up.encoder)}


def test_nothing_is_learnt_from_clean_pictures_above_the_gate() -> None:
    """No slope of a picture's x̂_0 where its t is not below; every one where the gate is open."""
    up = upsampler(below=0.5, after=0.0)
    t = torch.tensor([0, 49, 50, 99])
    assert up.seen(t, 0.5).tolist() == [1, 1, 0, 0]
    assert upsampler(below=1.0).seen(t, 0.5).tolist() == [1, 1, 1, 1]
    x = batch_at(0).target
    clean = (0.5 * x).requires_grad_()
    taken, _ = up._contend(clean, x, up.seen(t, 0.5), Looker(), BatchNoise(stream(1)))  # type: ignore[arg-type]
    (slope,) = torch.autograd.grad(taken + up._perceptual(clean, x, up.seen(t, 0.5)), clean)
    felt = slope.flatten(1).abs().sum(1)
    assert (felt[:2] > 0).all() and (felt[2:] == 0).all()


def test_the_gated_losses_are_means_over_all_pictures() -> None:
    """Of those that are looked at, by hand; so that parts of a batch teach as the whole."""
    up = upsampler(after=0.0)
    x = batch_at(0).target
    clean, seen, update = 0.5 * x, torch.tensor([1.0, 0.0, 1.0, 0.0]), Looker()
    taken, told = up._contend(clean, x, seen, update, BatchNoise(stream(1)))  # type: ignore[arg-type]
    critic = up.critic
    assert critic is not None
    real, fake = critic.logits(x[::2], ()), critic.logits(clean[::2], ())
    torch.testing.assert_close(taken, -fake.mean() / 2)
    torch.testing.assert_close(up._perceptual(clean, x, seen), distance(clean, x)[::2].mean() / 2)
    hinge = ((1 - real).relu().mean() + (1 + fake).relu().mean()) / 2
    wanted = torch.autograd.grad(hinge, list(critic.parameters()))
    for mine, its in zip(update.slopes[id(critic)], wanted, strict=True):
        torch.testing.assert_close(mine, its)
    torch.testing.assert_close(told["critic_real"], real.mean())
    assert not update.slopes.keys() - {id(critic)}


@pytest.mark.parametrize("done", [0.0, 0.29, 0.31, 0.9])
def test_both_losses_are_off_at_first(done: float) -> None:
    """And then they are not: against a step without them, on the same draws."""
    on, off = upsampler(after=0.3, below=1.0), upsampler(after=0.3, adversarial=0, perceptual=0)
    mine, plain = looked(on, done), looked(off, done)
    pairs = zip(mine.slopes[id(on.denoiser)], plain.slopes[id(off.denoiser)], strict=True)
    same = [torch.allclose(a, b, rtol=0, atol=1e-7) for a, b in pairs]
    silent = all(not g.any() for g in mine.slopes[id(on.critic)])
    assert all(same) == silent == (done < 0.3)


def test_a_penalty_on_the_critics_slope_is_in_its_loss_alone() -> None:
    plain = upsampler(loss="wasserstein", below=1.0, after=0.0)
    held = upsampler(loss="wasserstein", below=1.0, after=0.0, gradient_penalty=10.0)
    one, other = looked(plain, 0.5), looked(held, 0.5)
    assert one.losses[id(plain.critic)] < other.losses[id(held.critic)]
    torch.testing.assert_close(one.losses[id(plain.denoiser)], other.losses[id(held.denoiser)])


# ---- in the training


def run(m: Piti, steps: int, n: int = 4) -> list[str]:
    update, stages = Update(m.networks, settings(steps=steps, lr=RATES, ema={})), []
    for t in range(steps):
        update.done = t / steps
        update.set_rates(1.0, {})
        learn(m, batch_at(t, n), update, 0, t)
        stages.append(m.stage)
    return stages


@pytest.mark.parametrize("steps", [4, 5, 10, 30])
def test_it_comes_last_with_its_share_of_the_training(steps: int) -> None:
    stages = run(method(upsampling={"share": 0.5}), steps)
    assert stages == sorted(stages, key=(*STAGES, LAST).index) and set(stages) == {*STAGES, LAST}
    if steps >= 10:
        assert stages.count(LAST) == steps / 2


def test_in_it_the_base_is_frozen_bit_for_bit_and_before_it_the_upsampler() -> None:
    m = method()
    base, last = [m.encoder, m.initializer], m.upsampler
    assert last is not None
    update = Update(m.networks, settings(lr=RATES))
    for t in range(10):
        before = [state(net) for net in base], state(last)
        update.done = t / 10
        update.set_rates(1.0, {})
        learn(m, batch_at(t), update, 0, t)
        if t == 6:
            continue  # where averages are taken over
        moved = any(differing(b, state(net)) for b, net in zip(before[0], base, strict=True))
        assert moved == (t < 6) and bool(differing(before[1], state(last))) == (t > 6), t
        norms = {"encoder", "initializer"} if t < 6 else {"upsampler_encoder", "upsampler", "critic"}
        assert set(update.norms) == norms


def trained(out: Path, at: int = 99, resume: bool = False, every: int = 2) -> tuple[Tensor, str]:
    def batch(t: int) -> Pair:
        if t == at:
            raise Killed
        return batch_at(t)

    m = method()
    ema = {"encoder": 0.9, "upsampler": 0.9}
    train(m, batch, settings(lr=RATES, ema=ema, checkpoint_every=every), out, resume=resume)
    rows = [line.split(",") for line in (out / "metrics.csv").read_text().splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if name not in ("seconds", "wait")]
    told = "\n".join(",".join(row[i] for i in kept) for row in rows)
    return torch.cat([v.flatten().float() for v in m.state_dict().values()]), told


@pytest.mark.parametrize("every", [1, 4])
def test_killed_around_its_beginning_it_ends_as_if_it_had_not_been(every: int, tmp_path: Path) -> None:
    """It begins with step 7 of ten; its losses look at clean pictures from the next on."""
    whole, rows = trained(tmp_path / "whole", every=every)
    for at in (5, 6, 7, 9):
        out = tmp_path / str(at)
        with pytest.raises(Killed):
            trained(out, at, every=every)
        again, told = trained(out, resume=True, every=every)
        assert torch.equal(again, whole) and told == rows, at
        assert (
            "The joint stage ends at step 6; the upsampler stage begins." in (out / "events.log").read_text()
        )


# ---- making pictures


def made(m: Piti) -> Piti:
    assert m.upsampler is not None
    m.upsampler.begun.fill_(1)
    return m.eval()


def test_drafts_and_pictures_are_of_full_size_and_pictures_of_the_enlarged_sample() -> None:
    m, c = made(method()), batch_at(0).condition
    assert c is not None and m.upsampler is not None
    all_ = m.generate(c, 4, PictureNoise(0, range(4)), trace=True)
    small = method().eval()
    small.upsampler, reduced = None, F.avg_pool2d(c, 2)
    rng = PictureNoise(0, range(4))
    base = small.generate(reduced, 4, rng)
    blown = F.interpolate(base.drafts, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(all_.drafts, blown)
    torch.testing.assert_close(all_.images, m.upsampler.enlarge(base.images, c, rng))
    assert all_.images.shape == (4, 1, 16, 16) and all_.images.abs().max() <= 1
    assert len(all_.trace) == 5 and torch.equal(all_.trace[-1], all_.images)
    assert all(x.shape == all_.images.shape for x in all_.trace)
    torch.testing.assert_close(all_.energies, m.energy(all_.images, c))
    torch.testing.assert_close(all_.energies, small.energy(F.avg_pool2d(all_.images, 2), reduced))
    none = m.generate(c, 4, PictureNoise(0, range(4)), refine=0)
    assert torch.equal(none.images, all_.drafts) and torch.equal(none.images, none.drafts)


def test_a_picture_does_not_depend_on_its_batch() -> None:
    m, c = made(method()), batch_at(0).condition
    assert c is not None
    together = m.generate(c, 4, PictureNoise(0, range(4))).images
    alone = [m.generate(c[i : i + 1], 1, PictureNoise(0, [i])).images for i in range(4)]
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=5e-3)  # 8 bits may round apart


def test_small_pictures_are_seen_in_8_bits() -> None:
    up, c = upsampler(), batch_at(0).condition
    assert c is not None
    up.begun.fill_(1)
    low = torch.rand(4, 1, 8, 8, generator=stream(2)) * 2.2 - 1.1
    levels = 127.5 * (quantised(low) + 1)
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    assert (
        levels.min() == 0
        and levels.max() == 255
        and (quantised(low) - low.clamp(-1, 1)).abs().max() < 1 / 255 + 1e-6
    )
    finer = quantised(low) + 0.2 / 255
    assert torch.equal(
        up.enlarge(finer, c, PictureNoise(0, range(4))),
        up.enlarge(quantised(low), c, PictureNoise(0, range(4))),
    )


def test_before_it_has_learnt_anything_pictures_are_enlarged_bilinearly() -> None:
    m, c = method(), batch_at(0).condition
    assert c is not None and m.upsampler is not None
    low = torch.rand(4, 1, 8, 8, generator=stream(2)) * 2 - 1
    blown = F.interpolate(low, scale_factor=2, mode="bilinear")
    assert torch.equal(m.upsampler.enlarge(low, c, PictureNoise(0, range(4))), blown)
    run(m, 10)
    assert not torch.allclose(m.upsampler.enlarge(low, c, PictureNoise(0, range(4))), blown, atol=0.1)


def test_what_a_condition_fixes_is_put_back_at_full_size() -> None:
    def keep(x: Tensor, c: Tensor) -> Tensor:
        return torch.where(c[:, :1] > 0, c[:, 1:], x)

    m, c = made(method(keep=keep)), batch_at(0).condition
    assert c is not None
    fixed, known = c[:, 1:], c[:, :1] > 0
    sample = m.generate(c, 4, PictureNoise(0, range(4)))
    for x in (sample.drafts, sample.images, m.revise(sample.drafts, c, PictureNoise(0, range(4)), 0.5, 2)):
        assert torch.equal(x[known], fixed[known])


def test_another_methods_draft_is_reduced_revised_and_enlarged() -> None:
    m, (c, x) = made(method()), batch_at(0)
    assert c is not None and m.upsampler is not None
    one = m.revise(x, c, PictureNoise(0, range(4)), 0.05, 4)
    far = m.revise(x, c, PictureNoise(0, range(4)), 0.9, 4)
    assert one.shape == x.shape and one.abs().max() <= 1 and not torch.equal(one, far)
    fresh = m.revise(x, c, PictureNoise(0, range(4)), 1.0, 4)
    assert torch.equal(fresh, m.generate(c, 4, PictureNoise(0, range(4)), refine=4).images)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"factor": 3}, "factor is 1"),
        ({"share": 0.0}, "share is a share"),
        ({"share": 1.0}, "share is a share"),
        ({"steps": 0}, "steps is at least 1"),
        ({"steps": 2000}, "steps is at least 1"),
        ({"adversarial": -1.0}, "adversarial is a weight"),
        ({"below": 1.1}, "below is a share"),
        ({"after": -0.1}, "after is a share"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Upsampling(**wrong)
    with pytest.raises(UsageError, match="flow-euler is not for schedules of kind cosine"):
        upsampler(scheduler="flow-euler")
