"""The laws of noising and of taking noise away, against closed forms and diffusers' own schedulers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, stream
from redraft.sampling.diffusion import (
    FLOW_SOLVERS,
    SOLVERS,
    Process,
    Schedule,
    guide,
    guided,
    sample,
    two_in_one,
)

diffusers = pytest.importorskip("diffusers")

ALL = [
    (kind, prediction)
    for kind in ("cosine", "linear", "scaled_linear", "flow")
    for prediction in ("epsilon", "v", "sample", "flow")
    if (kind, prediction) != ("flow", "epsilon")
]
THEIRS = {"cosine": "squaredcos_cap_v2", "linear": "linear", "scaled_linear": "scaled_linear"}


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=stream(seed, "test"), dtype=dtype)


def draws(seed: int = 0) -> BatchNoise:
    return BatchNoise(stream(seed, "draws"))


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize(("kind", "prediction"), ALL)
def test_the_clean_picture_and_the_noise_follow_from_any_prediction(kind: str, prediction: str) -> None:
    process = Process(Schedule(kind=kind, prediction=prediction))
    x0, eps, t = normal(5, 1, 3, 3), normal(5, 1, 3, 3, seed=1), torch.tensor([0, 9, 300, 700, 990])
    x_t, told = process.noised(x0, eps, t), process.target(x0, eps, t)
    assert relative(process.clean(x_t, told, t), x0) < 1e-9
    assert relative(process.noise(x_t, told, t), eps) < 1e-9
    assert relative(process.predicted(x_t, eps, t), told) < 1e-9


@pytest.mark.parametrize(("kind", "prediction"), ALL)
def test_min_snr_weighs_the_clean_picture(kind: str, prediction: str) -> None:
    process = Process(Schedule(kind=kind, prediction=prediction))
    x0, eps, t = normal(5, 1, 3, 3), normal(5, 1, 3, 3, seed=1), torch.tensor([0, 9, 300, 700, 990])
    x_t, told = process.noised(x0, eps, t), process.target(x0, eps, t)
    wrong = told + 0.1 * normal(5, 1, 3, 3, seed=2)
    snr = (process.alpha[t] / process.sigma[t]).square()
    of_clean = snr.clamp_max(5) * (process.clean(x_t, wrong, t) - x0).square().flatten(1).mean(1)
    made = (process.weight(t, x0, 5.0) * (wrong - told).square()).flatten(1).mean(1)
    assert relative(made, of_clean) < 1e-9


@pytest.mark.parametrize("kind", THEIRS)
def test_schedules_are_diffusers(kind: str) -> None:
    theirs = diffusers.DDPMScheduler(1000, beta_start=1e-4, beta_end=2e-2, beta_schedule=THEIRS[kind])
    process = Process(Schedule(kind=kind, prediction="v"))
    torch.testing.assert_close(process.alpha.square(), theirs.alphas_cumprod.double(), rtol=2e-3, atol=1e-6)
    x0, eps, t = (
        normal(4, 1, 3, 3).float(),
        normal(4, 1, 3, 3, seed=1).float(),
        torch.tensor([0, 5, 500, 999]),
    )
    torch.testing.assert_close(process.noised(x0, eps, t), theirs.add_noise(x0, eps, t), rtol=0, atol=1e-5)
    torch.testing.assert_close(process.target(x0, eps, t), theirs.get_velocity(x0, eps, t), rtol=0, atol=1e-5)


def gaussian(process: Process, mean: float, sd: float):  # noqa: ANN201
    """The best denoiser of pictures of independent N(mean, sd²) numbers: E[x_0 | x_t], as a prediction."""

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = process.at(t, x_t)
        x0 = mean + alpha * sd**2 / ((alpha * sd) ** 2 + sigma**2) * (x_t - alpha * mean)
        return process.target(x0, (x_t - alpha * x0) / sigma, t)

    return predict


SOLVED = [(kind, prediction, "dpm++") for kind, prediction in ALL if kind != "flow"]
SOLVED += [("cosine", "v", name) for name in SOLVERS if name != "dpm++"]
SOLVED += [(*each, FLOW_SOLVERS[0]) for each in ALL if each[0] == "flow"]


@pytest.mark.parametrize(("kind", "prediction", "solver"), SOLVED)
def test_a_perfect_denoiser_gives_back_its_law(kind: str, prediction: str, solver: str) -> None:
    process = Process(Schedule(kind=kind, prediction=prediction))
    z = normal(8, 1, 16, 16, dtype=torch.float32)
    made, _ = sample(process, gaussian(process, 0.3, 0.2), z, draws(), steps=200, scheduler=solver)
    assert abs(float(made.mean()) - 0.3) < 0.015
    assert abs(float(made.std()) / 0.2 - 1) < 0.06
    if solver in ("dpm++", "ddim", "flow-euler"):  # an ODE, whose solution is known
        torch.testing.assert_close(made, 0.3 + 0.2 * z, rtol=0, atol=0.05)


@pytest.mark.parametrize(("name", "eta"), [("ddim", 0.0), ("ddpm", 1.0)])
def test_first_order_solvers_are_ddim_and_ddpm(name: str, eta: float) -> None:
    process = Process(Schedule())
    predict = gaussian(process, 0.1, 0.5)
    theirs = diffusers.DDIMScheduler(
        1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
    )
    theirs.set_timesteps(20)
    x = start = normal(2, 1, 4, 4, dtype=torch.float32)
    noise = draws()
    for t in theirs.timesteps:
        told = predict(x, torch.full((2,), int(t)))
        more = noise.normal(*x.shape) if eta else None
        x = theirs.step(told, t, x, eta=eta, variance_noise=more).prev_sample
    made, _ = sample(process, predict, start, draws(), steps=20, scheduler=name)
    torch.testing.assert_close(made, x, rtol=0, atol=2e-4)


def test_an_ode_is_deterministic_and_ddpm_is_not() -> None:
    process, z = Process(Schedule()), normal(2, 1, 4, 4).float()
    predict = gaussian(process, 0.0, 0.5)
    for solver, same in (("ddim", True), ("dpm++", True), ("ddpm", False)):
        one, other = (
            sample(process, predict, z, draws(seed), steps=5, scheduler=solver)[0] for seed in (1, 2)
        )
        assert torch.equal(one, other) == same


@pytest.mark.parametrize(
    ("kind", "solver"), [("cosine", "dpm++"), ("cosine", "ddim"), ("flow", "flow-euler")]
)
def test_a_draft_noised_a_little_comes_back_near_itself(kind: str, solver: str) -> None:
    process = Process(Schedule(kind=kind, prediction="flow" if kind == "flow" else "v"))
    draft, calls = 0.5 * normal(4, 1, 8, 8).float(), []
    best = gaussian(process, 0.0, 0.5)

    def predict(x: Tensor, t: Tensor) -> Tensor:
        calls.append(int(t[0]))
        return best(x, t)

    moved = {}
    for level in (0.05, 0.3, 1.0):
        calls.clear()
        start = normal(4, 1, 8, 8, seed=7).float() if level == 1 else draft
        made, seen = sample(
            process, predict, start, draws(), steps=6, scheduler=solver, level=level, trace=True
        )
        moved[level] = float((made - draft).square().mean().sqrt())
        assert len(calls) == 6 and len(seen) == 7 and torch.equal(seen[-1], made)
        assert calls[0] == round(1000 * level) - 1 and calls == sorted(calls, reverse=True)
    assert moved[0.05] < 0.12 < moved[0.3] < moved[1.0]


@pytest.mark.parametrize("sd", [0.06, 0.25, 1.0])
def test_eight_steps_of_the_second_order_keep_what_is_fine(sd: float) -> None:
    process, z = Process(Schedule()), normal(1, 1, 8, 8).float()
    made, _ = sample(process, gaussian(process, 0.0, sd), z, draws(), steps=8, scheduler="dpm++")
    torch.testing.assert_close(made, sd * z, rtol=0.06, atol=0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_times_are_each_their_own_and_as_many_as_asked(solver: str) -> None:
    process = Process(Schedule())
    for begin, steps in ((1000, 1), (1000, 8), (1000, 999), (1000, 1000), (50, 25), (3, 3), (1, 1)):
        times = process.times(solver, begin, steps)
        assert len(times) == steps and times[0] == begin - 1 and times[-1] >= 0
        assert all(a > b for a, b in zip(times, times[1:], strict=False))


def test_the_clean_picture_is_kept_within_bounds() -> None:
    process = Process(Schedule())
    made, _ = sample(
        process, gaussian(process, 0.9, 0.5), normal(2, 1, 8, 8).float(), draws(), steps=10, bound=1.0
    )
    assert float(made.abs().max()) <= 1.0


# ---- guidance


@pytest.mark.parametrize("w", [0.3, 1.5, 3.0])
def test_empirical_moments_keep_each_pictures_mean_and_deviation(w: float) -> None:
    with_c = 0.8 * normal(4, 3, 8, 8) + 0.1
    without = 1.1 * normal(4, 3, 8, 8, seed=1) - 0.2
    made = guided(with_c, without, w)
    for moment in (lambda x: x.flatten(1).mean(1), lambda x: x.flatten(1).std(1)):
        torch.testing.assert_close(moment(made), moment(with_c), rtol=1e-12, atol=1e-12)
    centred = (made - made.mean((1, 2, 3), keepdim=True)).flatten(1)
    plain = (with_c + w * (with_c - without)).flatten(1)
    assert torch.allclose(
        torch.cosine_similarity(centred, plain - plain.mean(1, keepdim=True)), torch.ones(4).double()
    )


@pytest.mark.parametrize(("w", "left"), [(0.3, 0.75), (1.5, 0.36), (3.0, 0.22)])
def test_analytic_moments_take_away_too_much_where_predictions_are_alike(w: float, left: float) -> None:
    one, other = normal(2, 3, 200, 200), normal(2, 3, 200, 200, seed=1)
    alike = 0.99 * one + (1 - 0.99**2) ** 0.5 * other
    assert abs(float(guided(one, alike, w, "analytic").std() / one.std()) - left) < 0.01
    assert abs(float(guided(one, other, w, "analytic").std() / one.std()) - 1) < 0.02


@pytest.mark.parametrize("moments", ["empirical", "analytic", "none"])
def test_no_guidance_is_the_condition_alone(moments: str) -> None:
    one, other = normal(2, 1, 4, 4), normal(2, 1, 4, 4, seed=1)
    assert torch.equal(guided(one, other, 0.0, moments), one)


def test_one_batched_pass_is_two() -> None:
    net = torch.nn.Conv2d(1, 1, 3, padding=1).double()
    says = torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0, 0.0]).double().view(-1, 1, 1, 1)
    calls = []

    def both(x: Tensor, t: Tensor) -> Tensor:
        calls.append(len(x))
        return net(x) * says + t.view(-1, 1, 1, 1)

    x, t = normal(3, 1, 4, 4), torch.tensor([5, 6, 7])
    with_c, without = two_in_one(both, x, t)
    assert calls == [6]
    torch.testing.assert_close(with_c, net(x) * says[:3] + t.view(-1, 1, 1, 1))
    torch.testing.assert_close(without, (0 * x + t.view(-1, 1, 1, 1)))


@pytest.mark.parametrize(("kind", "prediction"), ALL)
def test_guidance_is_of_the_noise_whatever_is_predicted(kind: str, prediction: str) -> None:
    process = Process(Schedule(kind=kind, prediction=prediction))
    x, t = normal(2, 1, 6, 6), torch.tensor([300, 700])
    clean = 0.3 * normal(4, 1, 6, 6, seed=3)  # of both with their conditions, then without

    def both(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = process.at(t, x)
        return process.target(clean, (x - alpha * clean) / sigma, t)

    told = guide(process, both, 2.0)(x, t)
    alpha, sigma = process.at(t, x)
    wanted = guided((x - alpha * clean[:2]) / sigma, (x - alpha * clean[2:]) / sigma, 2.0)
    assert relative(process.noise(x, told, t), wanted) < 1e-9
    at_noise = guide(process, both, 2.0)(x, torch.tensor([999, 999]))
    assert at_noise.isfinite().all()


def test_nearly_at_noise_guidance_is_plain() -> None:
    """There float32 would lose what the moments change: it gives what float64 gives, at every t."""
    process, x = Process(Schedule(prediction="sample")), normal(2, 1, 6, 6)
    clean = 0.3 * normal(4, 1, 6, 6, seed=3)
    for t in (999, 990, 300):
        one, other = (
            guide(process, lambda x, t: clean.to(x), 2.0)(x.to(d), torch.tensor([t, t]))
            for d in (torch.float64, torch.float32)
        )
        torch.testing.assert_close(other.double(), one, rtol=0, atol=1e-4)
        plain = clean[:2] + 2 * (clean[:2] - clean[2:])
        assert (relative(one, plain) < 1e-12) == (t == 999)


# ---- what is refused


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'ddim'"):
        Process(Schedule()).scheduler("ddimm")
    with pytest.raises(UsageError, match="kind cosine; use dpm"):
        Process(Schedule()).scheduler("flow-euler")
    with pytest.raises(UsageError, match="use flow-euler"):
        Process(Schedule(kind="flow", prediction="flow")).scheduler("dpm++")
    with pytest.raises(UsageError, match="noise alone"):
        Schedule(kind="flow", prediction="epsilon")
    for wrong in ({"steps": 1}, {"beta_start": 0.5}, {"beta_end": 1.5}):
        with pytest.raises(UsageError):
            Schedule(**wrong)
    process = Process(Schedule())
    for level in (0.0, 1.5, -1.0):
        with pytest.raises(UsageError, match="share of the schedule"):
            sample(process, gaussian(process, 0, 1), torch.zeros(1, 1, 2, 2), draws(), steps=2, level=level)
