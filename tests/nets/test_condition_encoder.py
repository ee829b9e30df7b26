"""PITI's condition encoder: the released code's size, tokens of a picture, and two kinds of nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.blocks import parameters
from redraft.nets.condition_encoder import PAPER, Block, ConditionEncoder, EncoderConfig, Stem

SMALL = EncoderConfig(width=32, layers=2, heads=2, grid=4)


def given(size: int = 16, width: int = 3, side: int = 0) -> Spec:
    return Spec(size=size, channels=3, condition="picture", width=width, side=side)


def made(cfg: EncoderConfig = SMALL, spec: Spec | None = None, **widths: Any) -> ConditionEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ConditionEncoder(spec or given(), cfg, **({"tokens": cfg.width} | widths))


def pictures(n: int = 2, width: int = 3, size: int = 16) -> Tensor:
    return torch.rand(n, width, size, size, generator=stream(1)) * 2 - 1


def test_the_released_codes_size_is_met() -> None:
    """29.3 M weights: 3.9 M of the stem and 25.2 M of the transformer, 256 tokens and one."""
    with torch.device("meta"):
        encoder = ConditionEncoder(given(256), PAPER, tokens=512)
    assert encoder.stem.side == 16 and encoder.places.shape == (1, 256, 512)
    assert parameters(encoder.stem) == 3_934_208
    assert parameters(encoder.blocks) == 25_219_072
    assert parameters(encoder) == 3_934_208 + 25_219_072 + 257 * 512 + 2 * 512  # = 29.3 M
    assert [m.out_channels for m in encoder.stem if isinstance(m, nn.Conv2d)] == [32, 64, 128, 256, 512, 512]


@pytest.mark.parametrize(
    ("side", "grid", "left"), [(64, 8, 8), (64, 16, 16), (28, 8, 14), (100, 8, 13), (8, 8, 8), (5, 8, 5)]
)
def test_the_stem_leaves_a_grid_and_less_than_twice_it(side: int, grid: int, left: int) -> None:
    stem = Stem(2, side, EncoderConfig(width=16, grid=grid))
    assert stem.side == left
    assert stem(pictures(1, 2, side)).shape == (1, 16, left, left)


def test_tokens_and_places_begin_small_and_known() -> None:
    """The released code leaves them uninitialised."""
    encoder = made(EncoderConfig(width=64, layers=1, grid=16), given(64))
    assert encoder.places.std().item() == pytest.approx(0.02, rel=0.05)
    assert encoder.whole.std().item() == pytest.approx(0.02, rel=0.4)
    assert torch.equal(encoder.places, made(EncoderConfig(width=64, layers=1, grid=16), given(64)).places)


def test_a_block_is_the_pre_ln_layer_of_pytorch() -> None:
    block, theirs = Block(16, 4), nn.TransformerEncoderLayer(16, 4, 64, 0.0, F.gelu, 1e-5, True, True)
    theirs.self_attn.in_proj_weight.data, theirs.self_attn.in_proj_bias.data = (
        block.qkv.weight.data,
        block.qkv.bias.data,
    )
    theirs.self_attn.out_proj, theirs.linear1, theirs.linear2 = block.out, block.dense[0], block.dense[2]  # type: ignore[assignment]
    theirs.norm1, theirs.norm2 = block.norm_attention, block.norm_dense
    h = torch.randn(2, 5, 16, generator=stream(2))
    torch.testing.assert_close(block(h), theirs(h))


def test_the_last_token_sees_the_whole_picture_and_no_other_one() -> None:
    encoder, x = made(), pictures()
    tokens = encoder(x)
    assert tokens.shape == (2, 4 * 4 + 1, 32)
    assert torch.equal(encoder.vector(tokens), tokens[:, -1])
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(encoder(x)[:, -1].square().sum(), x)
    assert (gradient.abs().amax((0, 1)) > 0).all()
    torch.testing.assert_close(encoder(pictures()[:1]), tokens[:1])


def test_tokens_are_as_wide_as_the_denoiser_reads_them() -> None:
    assert made(tokens=12)(pictures()).shape == (2, 17, 12)


def test_no_condition_is_the_papers_white_picture() -> None:
    encoder, x = made(), pictures()
    tokens = encoder(x, torch.tensor([False, True]))
    torch.testing.assert_close(tokens[0], encoder(x)[0])
    torch.testing.assert_close(tokens[1], encoder(torch.ones_like(x))[1])
    assert parameters(encoder) == parameters(made(EncoderConfig(width=32, layers=2, heads=2, grid=4)))


def test_no_condition_can_be_learnt() -> None:
    cfg = EncoderConfig(width=32, layers=2, heads=2, grid=4, null="learned")
    encoder, x = made(cfg, tokens=12), pictures()
    tokens = encoder(x, torch.tensor([False, True]))
    torch.testing.assert_close(tokens[0], encoder(x)[0])
    assert torch.equal(encoder(x, torch.tensor([True, True]))[0], tokens[1])
    white = encoder(torch.ones_like(x))[1]
    assert not torch.allclose(tokens[1], white)
    tokens[1].sum().backward()
    assert all(
        (p.grad is None or not p.grad.any()) == (p is not encoder.nothing) for p in encoder.parameters()
    )


@pytest.mark.parametrize("width", [1, 3, 12, 182])
def test_conditions_of_all_widths(width: int) -> None:
    """A sketch, a masked picture, labels one-hot; one that is folded to a latent's grid."""
    assert made(spec=given(8, width))(pictures(1, width, 8)).shape == (1, 17, 32)
    assert made(spec=given(64, width, side=4))(pictures(1, width, 4)).shape == (1, 17, 32)


def test_what_is_no_picture_and_settings_that_mean_nothing() -> None:
    for spec in (
        Spec(size=16, channels=3, condition="none"),
        Spec(size=16, channels=3, condition="category", width=4),
        given(1),
    ):
        with pytest.raises(UsageError, match="--method diffusion"):
            made(spec=spec)
    with pytest.raises(UsageError, match="make it a multiple"):
        EncoderConfig(width=30, heads=4)
    with pytest.raises(UsageError, match=r"networks\.encoder\.hint is a number of channels"):
        EncoderConfig(hint=-1)
    with pytest.raises(UsageError, match="at least 2"):
        EncoderConfig(grid=1)
