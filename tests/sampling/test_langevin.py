"""Langevin against what is known: Gaussian laws in closed form, and the promises of a chain."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from redraft.core.errors import UsageError
from redraft.core.filters import blur
from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.sampling.langevin import Langevin, langevin

MEAN, SD, CHAINS = 0.7, 0.5, 20_000


def gaussian(x: Tensor) -> Tensor:
    """E of N(MEAN, SD²) for each number of x [N, ...]."""
    return ((x - MEAN) ** 2 / (2 * SD**2)).flatten(1).sum(1)


def law(steps: int, delta: float, reference: float | None = None, noise: float | None = None) -> Langevin:
    """The chain of the paper's equation alone."""
    return Langevin(
        steps=steps, delta=delta, noise=noise, reference=reference, drift_clip=None, clamp=False, smooth=0
    )


def noise(seed: int = 0) -> BatchNoise:
    return BatchNoise(stream(seed, "test"))


def end(cfg: Langevin, seed: int = 0) -> Tensor:
    return langevin(gaussian, torch.zeros(CHAINS, 1, dtype=torch.float64), cfg, noise(seed)).x


@pytest.mark.parametrize("reference", [None, 0.4])
@pytest.mark.parametrize("delta", [0.1, 0.3])
def test_a_gaussian_is_sampled_with_its_mean_and_variance(delta: float, reference: float | None) -> None:
    """The chain on a quadratic is an AR(1): its stationary variance is 1 / (a (1 - a δ²/4)), a = 1/var."""
    a = 1 / SD**2 + (1 / reference**2 if reference else 0)  # precision of p(x) N(x; 0, s²)
    mean, variance = MEAN / SD**2 / a, 1 / (a * (1 - a * delta**2 / 4))
    x = end(law(math.ceil(12 / (a * delta**2 / 2)), delta, reference))
    assert abs(x.mean().item() - mean) < 4 * math.sqrt(variance / CHAINS)
    assert abs(x.var().item() / variance - 1) < 4 * math.sqrt(2 / CHAINS)


def test_the_error_of_the_law_falls_with_the_step() -> None:
    """Unadjusted Langevin is biased by its step: detailed balance is regained as δ -> 0."""
    errors = [abs(end(law(math.ceil(3 / d**2), d)).var().item() / SD**2 - 1) for d in (0.8, 0.4, 0.2)]
    assert errors[0] > 2 * errors[1] and errors[1] > 2 * errors[2]


def test_without_noise_every_chain_ends_in_the_same_place() -> None:
    x = langevin(gaussian, torch.randn(50, 1, generator=stream(1)), law(400, 0.3, noise=0.0), noise()).x
    assert x.std() < 1e-6
    assert abs(x.mean().item() - MEAN) < 1e-5


def test_one_step_is_the_papers_equation() -> None:
    x, cfg = torch.randn(3, 2, 4, 4, generator=stream(2)), law(1, 0.2, reference=0.6)
    eps = noise(9).normal(3, 2, 4, 4)
    expected = x - 0.2**2 / 2 * ((x - MEAN) / SD**2 + x / 0.6**2) + 0.2 * eps
    torch.testing.assert_close(langevin(gaussian, x, cfg, noise(9)).x, expected)


def test_the_papers_chain_is_all_law() -> None:
    cfg = Langevin.classic()
    assert (cfg.steps, cfg.delta, cfg.reference, cfg.noise) == (15, 0.002, 0.016, None)
    assert cfg.drift_clip is None and not cfg.clamp and not cfg.smooth


def test_what_is_known_is_kept_exactly() -> None:
    x = torch.rand(2, 3, 8, 8, generator=stream(3)) * 2 - 1
    known = torch.rand(2, 1, 8, 8, generator=stream(4)) < 0.5

    def keep(y: Tensor) -> Tensor:
        return torch.where(known, x, y)

    chain = langevin(gaussian, x, Langevin(steps=6, noise=0.1), noise(), keep=keep, trace=True)
    mask = known.expand_as(x)
    assert all(torch.equal(y[mask], x[mask]) for y in chain.trace)
    assert not torch.equal(chain.x[~mask], x[~mask])


@settings(max_examples=25, deadline=None)
@given(clip=st.floats(1e-4, 0.3), delta=st.floats(0.01, 50), smooth=st.floats(0, 1), seed=st.integers(0, 99))
def test_no_pixel_moves_further_than_the_clip_nor_out_of_range(
    clip: float, delta: float, smooth: float, seed: int
) -> None:
    x = torch.rand(2, 1, 6, 6, generator=stream(seed)) * 2 - 1
    cfg = Langevin(steps=3, delta=delta, drift_clip=clip, smooth=smooth)
    path = langevin(gaussian, x, cfg, noise(), trace=True).trace
    for before, after in zip(path, path[1:], strict=False):
        assert (after - before).abs().max() <= clip + 1e-6
        assert after.abs().max() <= 1


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_the_batch_size_changes_no_picture(batch: int) -> None:
    net = nn.Sequential(nn.Conv2d(2, 8, 4, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(128, 1)).double()

    def energy(y: Tensor) -> Tensor:
        return net(y).squeeze(1)

    x, cfg = torch.rand(6, 2, 8, 8, generator=stream(5)).double(), Langevin(steps=4, noise=0.02)
    whole = langevin(energy, x, cfg, PictureNoise(7, range(6))).x
    for i in range(0, 6, batch):
        part = langevin(energy, x[i : i + batch], cfg, PictureNoise(7, range(i, i + batch))).x
        torch.testing.assert_close(part, whole[i : i + batch], rtol=0, atol=1e-12)


class BackwardMasks(TorchDispatchMode):
    """Which of (input, weight, bias) each convolution's backward computes."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[list[bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution_backward.default:
            self.masks.append(list(args[-1]))
        return func(*args, **(kwargs or {}))


def test_only_gradients_of_the_picture_are_computed() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1))
    with BackwardMasks() as backward:
        langevin(lambda y: net(y).flatten(1).sum(1), torch.randn(2, 8, 8, 8), law(3, 0.1), noise())
    assert backward.masks == [[True, False, False]] * 6
    assert all(p.grad is None for p in net.parameters())


def test_a_chain_leaves_no_graph_and_its_start_alone() -> None:
    start = torch.rand(2, 3, 8, 8)
    before = start.clone()
    with torch.no_grad():  # as when somebody generates
        chain = langevin(gaussian, start, Langevin(steps=2), noise(), trace=True)
    tensors = [chain.x, chain.energies, chain.drift, chain.move, *chain.trace]
    assert not any(t.requires_grad for t in tensors)
    assert torch.equal(start, before) and not start.requires_grad


def test_diagnostics_say_what_happened() -> None:
    x = torch.zeros(4, 1, 4, 4)
    chain = langevin(gaussian, x, law(5, 0.1, noise=0.0), noise(), trace=True)
    assert len(chain.trace) == 6 and chain.energies.shape == (5, 4)
    torch.testing.assert_close(chain.energies, torch.stack([gaussian(y) for y in chain.trace[:-1]]))
    torch.testing.assert_close(chain.drift, (chain.trace[1] - x).square().mean().sqrt())
    torch.testing.assert_close(chain.move, (chain.x - x).square().mean().sqrt())


def test_no_steps_return_the_draft() -> None:
    x = torch.rand(2, 3, 4, 4)
    chain = langevin(gaussian, x, Langevin(), noise(), steps=0)
    assert torch.equal(chain.x, x) and chain.energies.shape == (0, 2) and chain.move == 0


def test_the_preconditioner_keeps_the_resting_point() -> None:
    """(1-a)I + aB is positive, so the chain comes to rest where it did without it; only slower."""
    x = torch.randn(1, 1, 8, 8, generator=stream(6))
    cfg = Langevin(steps=4000, delta=0.4, drift_clip=None, clamp=False, smooth=0.75)
    torch.testing.assert_close(
        langevin(gaussian, x, cfg, noise()).x, torch.full_like(x, MEAN), atol=1e-3, rtol=0
    )


def test_the_blur_removes_the_grid_of_strided_layers() -> None:
    grid = torch.ones(1, 1, 8, 8)
    grid[..., ::2] = -1
    assert blur(grid)[..., 1:-1].abs().max() < 1e-6  # edges are repeated, so the last columns differ
    torch.testing.assert_close(blur(torch.full((1, 3, 5, 5), 0.3)), torch.full((1, 3, 5, 5), 0.3))


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"delta": 0.0}, {"reference": -1.0}, {"smooth": 1.5}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="langevin"):
        Langevin(**wrong)
