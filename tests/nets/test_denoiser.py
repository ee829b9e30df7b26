"""Denoisers of diffusers, as the house calls them: what they are told, and what nothing changes."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from redraft.core.errors import BundleError, UsageError
from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.denoiser import Denoiser, DenoiserConfig
from redraft.recipes.networks import Networks

diffusers = pytest.importorskip("diffusers")

PICTURE = Spec(size=16, channels=3, condition="picture", width=3)
CATEGORY = replace(PICTURE, condition="category", width=4)
TINY = DenoiserConfig(channels=(16, 16), tokens=8)
UNET = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [16, 32],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
PIXART = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 6,
    "num_layers": 1,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "cross_attention_dim": 24,
    "caption_channels": 10,
}


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=stream(seed, "denoiser"))


def ours(spec: Spec = PICTURE) -> Denoiser:
    torch.manual_seed(0)
    kind, config, patch = TINY.of(spec)
    return Denoiser.of(kind, config, spec, patch=patch)


def made(kind: str) -> Denoiser:
    torch.manual_seed(0)
    if kind == "ours":
        return ours()
    return Denoiser.of(kind, {"UNet2DModel": UNET, "PixArtTransformer2DModel": PIXART}[kind], PICTURE)


T = torch.tensor([3, 700])
X = some(2, 3, 16, 16)
KINDS = ("ours", "UNet2DModel", "PixArtTransformer2DModel")


def moved(net: Denoiser, *told: Tensor) -> None:
    """One step of descent towards another picture, far enough to be seen."""
    net(X, T, *told).sub(1).square().sum().backward()
    with torch.no_grad():
        for p in net.parameters():
            if p.grad is not None:
                p -= 1e-3 * p.grad / p.grad.norm().clamp_min(1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_read_and_what_nobody_says_is_the_null_token(kind: str) -> None:
    net = made(kind)
    tokens, other = some(2, 5, net.tokens), some(2, 5, net.tokens, seed=1)
    null = net.null.expand(2, -1, -1)
    assert net(X, T).shape == X.shape
    assert torch.equal(net(X, T), net(X, T, null))
    moved(net, tokens)
    assert not torch.allclose(net(X, T, tokens), net(X, T, other), atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vector_changes_nothing_at_first_and_something_after_a_step(kind: str) -> None:
    net = made(kind)
    tokens, vector = some(2, 5, net.tokens), some(2, net.tokens, seed=2)
    assert torch.equal(net(X, T, tokens, vector), net(X, T, tokens))
    moved(net, tokens, vector)
    assert not torch.equal(net(X, T, tokens, vector), net(X, T, tokens))


def test_a_prior_without_a_place_for_tokens_is_at_first_as_it_was() -> None:
    torch.manual_seed(0)
    bare = diffusers.UNet2DModel(**UNET)
    net = Denoiser.of("UNet2DModel", UNET, PICTURE)
    net.fill(bare.state_dict())
    tokens = some(2, 5, net.tokens)
    torch.testing.assert_close(net(X, T, tokens), bare(X, T).sample, rtol=1e-5, atol=1e-5)
    before = net(X, T, tokens).detach()
    net.requires_grad_(False)
    for p in net.added():  # what the prior has learnt stays as it was
        p.requires_grad_(True)
    moved(net, tokens)
    assert {n for n, p in net.named_parameters() if p.grad is not None} >= {
        n for n, p in net.named_parameters() if n.endswith("to_v.weight") and ".processor." in n
    }
    assert all(p.grad is None for n, p in net.named_parameters() if not p.requires_grad)
    assert not torch.allclose(net(X, T, tokens), before, atol=1e-7)
    with torch.no_grad():
        for p in net.added():
            p.zero_()
    torch.testing.assert_close(net(X, T, tokens), bare(X, T).sample, rtol=1e-5, atol=1e-5)


def test_our_unet_is_diffusers_own() -> None:
    kind, config, patch = TINY.of(PICTURE)
    bare = getattr(diffusers, kind)(**config)
    net = Denoiser.of(kind, config, PICTURE, patch=patch)
    net.fill(bare.state_dict())
    tokens = some(2, 5, 8)
    squares = nn.functional.pixel_unshuffle(X, patch)
    theirs = nn.functional.pixel_shuffle(bare(squares, T, tokens).sample, patch)
    torch.testing.assert_close(net(X, T, tokens), theirs)


def test_categories_have_words_and_minus_one_is_none() -> None:
    net = ours(CATEGORY)
    nn.init.normal_(net.null)
    said = net(X, T, torch.tensor([2, -1]))
    torch.testing.assert_close(said[:1], net(X[:1], T[:1], net.words.weight[2][None, None]))
    torch.testing.assert_close(said[1:], net(X[1:], T[1:]))


def test_a_priors_own_classes_are_told_and_a_picture_without_one_has_none() -> None:
    torch.manual_seed(0)
    net = Denoiser.of("UNet2DModel", {**UNET, "num_class_embeds": 4}, CATEGORY)
    with torch.no_grad():
        net.words.weight.zero_()
    said = net(X, T, torch.tensor([2, -1]))
    assert not torch.allclose(said[:1], net(X[:1], T[:1]), atol=1e-6)
    torch.testing.assert_close(said[1:], net(X[1:], T[1:]))


def test_a_copy_hears_what_it_is_told_itself() -> None:
    net = made("UNet2DModel")
    other = copy.deepcopy(net)
    tokens, vector = some(2, 5, net.tokens), some(2, net.tokens)
    for p in other.added():
        nn.init.normal_(p, std=0.5)
    before = net(X, T, tokens, vector)
    assert not torch.allclose(other(X, T, tokens, vector), before)
    assert torch.equal(net(X, T, tokens, vector), before)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 28, 32])
def test_any_size_has_a_small_denoiser(size: int) -> None:
    net = ours(Spec(size=size, channels=2, condition="none"))
    x = some(2, 2, size, size)
    assert net(x, T).shape == x.shape and net.z_shape == (2, size, size)


def test_the_usual_one_is_small_enough_for_two_cores() -> None:
    for size in (28, 32, 64):
        spec = Spec(size=size, channels=3, condition="category", width=10)
        kind, config, patch = DenoiserConfig().of(spec)
        net = Denoiser.of(kind, config, spec, patch=patch)
        assert 1e6 < sum(p.numel() for p in net.parameters()) < 3.5e6


def test_what_stands_beside_a_picture_is_seen_and_nothing_is_made_of_it() -> None:
    """Three channels come out of six, and each place's own ones are seen: by its patch, as diffusers does."""
    torch.manual_seed(0)
    kind, config, patch = TINY.of(PICTURE, beside=3)
    net = Denoiser.of(kind, config, PICTURE, patch=patch, beside=3).eval()
    x, t, other = some(2, 3, 16, 16), torch.tensor([3, 500]), some(2, 3, 16, 16, seed=1)
    with torch.no_grad():
        made = net(x, t, beside=other)
        seen = torch.nn.functional.pixel_unshuffle(torch.cat([x, other], 1), patch)
        plain = net.net(seen, t, net.null.expand(2, -1, -1)).sample
        torch.testing.assert_close(made, torch.nn.functional.pixel_shuffle(plain, patch))
        assert made.shape == x.shape and not torch.allclose(made, net(x, t, beside=0 * other), atol=1e-4)
    with pytest.raises(BundleError, match="and 12 are wanted"):
        Denoiser.of(kind, config, PICTURE, patch=patch)


def test_what_cannot_be_told_or_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="known: "):
        Denoiser.of("FluxTransformer2DModel", {}, PICTURE)
    with pytest.raises(BundleError, match="4 channels of 4, and 3"):
        Denoiser.of("UNet2DModel", {**UNET, "in_channels": 4, "out_channels": 4}, PICTURE)
    kind, config, patch = TINY.of(PICTURE)
    for more, asks in (
        ({"num_class_embeds": 3}, "a class"),
        ({"addition_embed_type": "image", "encoder_hid_dim": 8, "addition_time_embed_dim": 8}, "image"),
    ):
        with pytest.raises(BundleError, match=asks):
            Denoiser.of(kind, {**config, **more}, PICTURE, patch=patch)
    with pytest.raises(BundleError, match="not those of this"):
        made("UNet2DModel").fill({"a": X})
    alone = {**UNET, "add_attention": False, "down_block_types": ["DownBlock2D"] * 2}
    with pytest.raises(BundleError, match="no attention"):
        Denoiser.of("UNet2DModel", {**alone, "up_block_types": ["UpBlock2D"] * 2}, PICTURE)
    for wrong, says in (
        ({"channels": (24,)}, "networks.denoiser.channels are multiples of 16"),
        ({"channels": ()}, "networks.denoiser.channels are multiples of 16"),
        ({"attention": -1}, "networks.denoiser.attention from 0 on"),
        ({"kind": "UNet2DModel"}, "networks.denoiser.kind=UNet2DModel needs networks.denoiser.config"),
        ({"kind": "UNet2DModel", "config": "{"}, "needs networks.denoiser.config, the JSON object"),
        ({"kind": "UNet2DModel", "config": "[1]"}, "needs networks.denoiser.config, the JSON object"),
    ):
        with pytest.raises(UsageError, match=says):
            DenoiserConfig(**wrong).of(PICTURE)
    with pytest.raises(UsageError, match=r"networks\.upsampler\.channels are"):
        Networks(upsampler=DenoiserConfig(channels=(17,)))
