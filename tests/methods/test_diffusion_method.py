"""Diffusion as a method: what a step teaches, what is made of noise, what a picture scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.diffusion import Diffusion
from redraft.nets.denoiser import Denoiser, DenoiserConfig
from redraft.sampling.diffusion import Prediction, Process, Schedule

pytest.importorskip("diffusers")
SPEC = Spec(size=8, channels=1, condition="category", width=3)


class Counting(nn.Module):
    """A denoiser that says 0 of everything, and what it was asked."""

    z_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, Tensor | None]] = []
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(
        self, x: Tensor, t: Tensor, tokens: Tensor | None = None, vector: Any = None, hint: Any = None
    ) -> Tensor:
        self.asked.append((len(x), tokens))
        return self.weight * x


def counted(**settings: Any) -> Diffusion:
    cfg = Diffusion.Config(steps=5, draft_steps=3, **settings)
    return Diffusion(cfg, initializer=Counting(), process=Process(cfg.schedule))  # type: ignore[arg-type]


def real() -> Diffusion:
    torch.manual_seed(0)
    kind, config, patch = DenoiserConfig(channels=(16,), tokens=8).of(SPEC)
    cfg = Diffusion.Config(steps=4, draft_steps=2, guidance=0.5)
    return Diffusion(
        cfg, initializer=Denoiser.of(kind, config, SPEC, patch=patch), process=Process(cfg.schedule)
    )


def test_a_step_descends_the_error_of_the_target_and_drops_some_conditions() -> None:
    method, losses = counted(null=0.25, schedule=Schedule(prediction="epsilon")), []
    c, x = torch.arange(2000) % 3, torch.zeros(2000, 1, 8, 8)
    values = method.step(Pair(c, x), lambda net, loss: losses.append(loss.detach()), BatchNoise(stream(0)))
    assert abs(float(losses[0]) - 1) < 0.02  # of ε, when 0 is said
    assert torch.equal(values["loss_initializer"].detach(), losses[0])
    ((_, told),) = method.initializer.asked
    assert abs(float((told == -1).float().mean()) - 0.25) < 0.03
    assert torch.equal(told[told >= 0], c[told >= 0])


def test_what_is_noised_is_scaled() -> None:
    x = torch.ones(64, 1, 8, 8)
    losses = {}
    for scale in (1.0, 3.0):
        method = counted(scale=scale, schedule=Schedule(prediction="sample"), min_snr=0)
        step = method.step(Pair(None, x), lambda net, loss: None, BatchNoise(stream(0)))
        losses[scale] = float(step["loss_initializer"].detach())
    assert losses == pytest.approx({1.0: 1.0, 3.0: 9.0})


@pytest.mark.parametrize(("prediction", "gamma"), [("sample", 5.0), ("v", 0.0)])
def test_the_error_of_a_clean_picture_is_weighed_by_itself(prediction: Prediction, gamma: float) -> None:
    """Unweighed it would be nearly all of high noise, of which nothing can be told."""
    x, losses = torch.ones(256, 1, 8, 8), []
    for given in (None, gamma):
        method = counted(schedule=Schedule(prediction=prediction), min_snr=given)
        losses.append(method.step(Pair(None, x), lambda net, loss: None, BatchNoise(stream(0))))
    assert torch.equal(losses[0]["loss_initializer"], losses[1]["loss_initializer"])


@pytest.mark.parametrize(("guidance", "rows"), [(0.0, 2), (1.0, 4)])
def test_drafts_take_few_steps_and_pictures_more_from_the_same_noise(guidance: float, rows: int) -> None:
    method, c = counted(guidance=guidance), torch.tensor([0, 2])
    made = method.generate(c, 2, PictureNoise(0, [0, 1]), trace=True)
    sizes = [n for n, _ in method.initializer.asked]
    assert sizes[:8] == [rows] * 8 and set(sizes[8:]) == {2}  # 3 and 5 steps, then scores
    if guidance:
        assert method.initializer.asked[0][1].tolist() == [0, 2, -1, -1]
    assert len(made.trace) == 6 and made.trace_energies.shape == (5, 2)
    assert method.refine_steps == 5


def test_drafts_alone_are_the_pictures_and_steps_can_be_asked_for() -> None:
    method, c = real(), torch.tensor([0, 2])
    drafts = method.generate(c, 2, PictureNoise(0, [0, 1]), refine=0)
    assert drafts.images is drafts.drafts and torch.equal(drafts.energies, drafts.draft_energies)
    same = method.generate(c, 2, PictureNoise(0, [0, 1]), refine=2)
    torch.testing.assert_close(same.images, same.drafts)  # two steps as the draft's two
    assert torch.equal(same.drafts, drafts.drafts)
    more = method.generate(c, 2, PictureNoise(0, [0, 1]))
    assert torch.equal(more.drafts, drafts.drafts) and not torch.equal(more.images, drafts.images)
    assert more.images.abs().max() <= 1 and torch.equal(more.energies, method.energy(more.images, c))


def test_a_pictures_noise_is_its_own() -> None:
    method, c = real(), torch.tensor([0, 2, 1])
    whole = method.generate(c, 3, PictureNoise(0, [0, 1, 2])).images
    one = method.generate(c[1:2], 1, PictureNoise(0, [1])).images
    torch.testing.assert_close(whole[1:2], one, rtol=0, atol=1e-4)


def test_energy_is_the_same_every_time_and_in_every_batch() -> None:
    method, c = real(), torch.tensor([0, 2, 1])
    x = torch.rand(3, 1, 8, 8, generator=stream(1)) * 2 - 1
    every = method.energy(x, c)
    assert every.shape == (3,) and torch.equal(every, method.energy(x, c))
    torch.testing.assert_close(method.energy(x[1:2], c[1:2]), every[1:2])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"guidance": -0.1}, "guidance"),
        ({"guidance": 40.0}, "guidance"),
        ({"guidance": float("nan")}, "guidance"),
        ({"guidance": 0.3, "null": 0.0}, "knows no condition"),
        ({"steps": 0}, "method.steps"),
        ({"draft_steps": 2000}, "method.draft_steps"),
        ({"null": 1.0}, "method.null"),
        ({"scale": 0.0}, "method.scale"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Diffusion.Config(**settings)  # type: ignore[arg-type]


def test_a_scheduler_that_does_not_fit_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="use flow-euler"):
        counted(schedule=Schedule(kind="flow", prediction="flow"))


@pytest.mark.parametrize("c", [torch.tensor([0, 1, 2, 0]), None])
def test_a_draft_is_kept_the_more_the_less_noise_it_gets(c: Tensor | None) -> None:
    m, x = real().eval(), torch.rand(4, 1, 8, 8, generator=stream(3)) * 2 - 1
    made = [m.revise(x, c, PictureNoise(0, range(4)), level, 4) for level in (0.05, 0.3, 0.9)]
    moved = [float((y - x).square().mean()) for y in made]
    assert moved == sorted(moved) and all(y.abs().max() <= 1 for y in made)
    fresh = m.revise(x, c, PictureNoise(0, range(4)), 1.0, 4)
    assert torch.equal(fresh, m.generate(c, 4, PictureNoise(0, range(4)), refine=4).images)
