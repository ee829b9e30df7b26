"""What PITI makes: guided, from noise or from a draft, and scored."""

from __future__ import annotations

import pytest
import torch
from tests.methods.toy_prior import batch_at, method
from torch import Tensor

from redraft.core.rng import PictureNoise, stream
from redraft.methods.denoising import predictor
from redraft.methods.piti import Piti
from redraft.sampling.diffusion import Predict

pytest.importorskip("diffusers", reason="an extra: redraft[diffusion]")


def test_drafts_and_pictures_come_from_one_noise() -> None:
    m = method().eval()
    c = batch_at(0).condition
    assert c is not None
    made = m.generate(c, 4, PictureNoise(0, range(4)))
    assert torch.equal(made.drafts, m.generate(c, 4, PictureNoise(0, range(4)), refine=2).images)
    assert torch.equal(made.images, m.generate(c, 4, PictureNoise(0, range(4)), refine=4).images)
    assert torch.equal(made.drafts, m.generate(c, 4, PictureNoise(0, range(4)), refine=0).images)
    assert made.images.abs().max() <= 1 and m.refine_steps == 4
    torch.testing.assert_close(made.energies, m.energy(made.images, c))
    torch.testing.assert_close(made.draft_energies, m.energy(made.drafts, c))
    traced = m.generate(c, 4, PictureNoise(0, range(4)), trace=True)
    assert len(traced.trace) == 5 and torch.equal(traced.trace[-1], made.images)


def test_a_picture_does_not_depend_on_its_batch() -> None:
    m = method().double().eval()
    c = batch_at(0).condition.double()  # type: ignore[union-attr]

    class Double(PictureNoise):
        def normal(self, n: int, *shape: int) -> Tensor:
            return super().normal(n, *shape).double()

    together = m.generate(c, 4, Double(0, range(4))).images
    alone = [m.generate(c[i : i + 1], 1, Double(0, [i])).images for i in range(4)]
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-10)


@pytest.mark.parametrize("w", [0.3, 1.5, 3.0])
def test_guidance_keeps_the_deviation_of_the_conditions_noise(w: float) -> None:
    """And, not normalised, is ε_c + w (ε_c − ε_∅), by two passes."""
    c, t = batch_at(0).condition, torch.tensor([10, 30, 60, 90])
    assert c is not None
    x_t = torch.randn(4, 1, 8, 8, generator=stream(2))
    m, plain = method(guidance=w).eval(), method(guidance=w, moments="none").eval()
    process = m.process

    def noise(tokens: Tensor) -> Tensor:
        hint = torch.zeros_like(x_t)  # at first nothing is drawn
        return process.noise(x_t, m.initializer(x_t, t, tokens[:, :-1], tokens[:, -1], hint), t)

    def predict(m: Piti) -> Predict:
        return predictor(m.initializer, process, m.cfg, m._told(c), m._null(c))

    with torch.no_grad():
        eps_c, eps_0 = noise(m.encoder(c)), noise(m.encoder(torch.ones_like(c)))
        mine = process.noise(x_t, predict(m)(x_t, t), t)
        theirs = process.noise(x_t, predict(plain)(x_t, t), t)
    torch.testing.assert_close(mine.flatten(1).std(1), eps_c.flatten(1).std(1), rtol=1e-3, atol=0)
    torch.testing.assert_close(theirs, eps_c + w * (eps_c - eps_0), rtol=1e-3, atol=1e-4)


def test_without_guidance_nothing_is_asked_twice() -> None:
    m, calls = method(guidance=0.0).eval(), []
    forward = m.initializer.forward
    m.initializer.forward = lambda x, *more: (calls.append(len(x)), forward(x, *more))[1]  # type: ignore[method-assign]
    m.generate(batch_at(0).condition, 4, PictureNoise(0, range(4)), refine=0)
    assert set(calls) == {4}


def test_a_draft_is_kept_the_more_the_less_noise_it_gets() -> None:
    m = method().eval()
    c, x = batch_at(0)
    assert c is not None
    made = [m.revise(x, c, PictureNoise(0, range(4)), level, 4) for level in (0.05, 0.3, 0.9)]
    moved = [float((y - x).square().mean()) for y in made]
    assert moved == sorted(moved) and all(y.abs().max() <= 1 for y in made)
    again = m.revise(x, c, PictureNoise(0, range(4)), 0.3, 4)
    assert torch.equal(again, made[1])
    fresh = m.revise(x, c, PictureNoise(0, range(4)), 1.0, 4)
    assert torch.equal(fresh, m.generate(c, 4, PictureNoise(0, range(4)), refine=4).images)


def test_what_a_condition_fixes_is_kept() -> None:
    def keep(x: Tensor, c: Tensor) -> Tensor:
        return torch.where(c[:, :1] > 0, c[:, 1:], x)

    m = method(keep=keep).eval()
    c = batch_at(0).condition
    assert c is not None
    made = m.generate(c, 4, PictureNoise(0, range(4)), trace=True)
    for x in (made.drafts, made.images, *made.trace):
        assert torch.equal(x[c[:, :1] > 0], c[:, 1:][c[:, :1] > 0])


def test_energy_is_a_fixed_function_of_picture_and_condition() -> None:
    m = method().eval()
    c, x = batch_at(0)
    e = m.energy(x, c)
    assert e.shape == (4,) and torch.equal(e, m.energy(x, c))
    torch.testing.assert_close(m.energy(x[2:], None if c is None else c[2:]), e[2:])
    assert (e - m.energy(x, None if c is None else c.flip(0))).abs().max() > 1e-6


def test_a_prior_that_knows_the_picture_scores_it_lowest_and_makes_it() -> None:
    m = method(guidance=0.0).eval()
    c, x = batch_at(0)

    def knows(x_t: Tensor, t: Tensor, tokens: Tensor, vector: Tensor, hint: Tensor) -> Tensor:
        alpha, sigma = m.process.at(t, x_t)
        return alpha * (x_t - alpha * x) / sigma - sigma * x

    m.initializer.forward = knows  # type: ignore[method-assign]
    assert m.energy(x, c).max() < 1e-6 < m.energy(x + 0.1, c).min()
    torch.testing.assert_close(m.generate(c, 4, PictureNoise(0, range(4))).images, x, rtol=0, atol=1e-4)
