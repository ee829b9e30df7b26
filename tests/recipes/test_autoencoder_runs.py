"""Which autoencoder a recipe chooses, and that it can be built and started."""

from __future__ import annotations

import pytest
import torch

from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair
from redraft.recipes import RECIPES, build
from redraft.recipes.autoencoder import perceptual
from redraft.tasks.none import Nothing


@pytest.mark.parametrize(
    ("size", "channels", "latent"),
    [
        (28, 1, (64, 1, 1)),
        (32, 3, (128, 1, 1)),
        (48, 3, (16, 6, 6)),
        (64, 3, (16, 8, 8)),
        (256, 3, (16, 32, 32)),
    ],
)
def test_small_pictures_become_vectors_and_larger_ones_maps(
    size: int, channels: int, latent: tuple[int, ...]
) -> None:
    run = RECIPES["modern"](Nothing(size=size, channels=channels), "autoencoder", 100, 0)
    assert build(run).initializer.z_shape == latent


@pytest.mark.parametrize("recipe", ["modern", "classic"])
def test_it_starts_where_principal_components_are_and_draws_pictures(recipe: str) -> None:
    run = RECIPES[recipe](Nothing(size=16, channels=1), "autoencoder", 100, 0)
    method = build(run.override(["networks.autoencoder.width=8", "networks.autoencoder.numbers=8"]))
    x = torch.rand(30, 1, 4, 4, generator=stream(0)).repeat_interleave(4, 2).repeat_interleave(4, 3) * 2 - 1
    before = method.energy(x).mean()
    method.begin(Pair(None, x))
    assert method.energy(x).mean() < 0.7 * before
    made = method.generate(None, 3, BatchNoise(stream(1)))
    assert made.images.shape == (3, 1, 16, 16) and made.images.abs().max() <= 1


def test_the_paper_has_a_contest_of_adaptive_weight_and_a_learned_scale() -> None:
    cfg = RECIPES["classic"](Nothing(size=32, channels=3), "autoencoder", 100, 0).method
    assert (
        cfg.adaptive
        and cfg.learned_scale
        and cfg.adversarial == 0.5
        and cfg.kl == 1e-6
        and cfg.loss == "hinge"
    )


def test_no_perceptual_network_is_read_where_it_has_no_weight() -> None:
    run = RECIPES["modern"](Nothing(size=32, channels=3), "autoencoder", 100, 0)
    assert perceptual(run.method) is not None
    assert perceptual(run.override(["method.perceptual=0"]).method) is None
