"""The flow is invertible, its log-determinant is the true one, and it learns densities that are known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from redraft.core.errors import DataError, UsageError
from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.blocks import parameters
from redraft.nets.couplings import ActNorm
from redraft.nets.flow import Flow, FlowConfig

SMALL = FlowConfig(blocks=3, width=12, embed=5)
OPTIONS = {
    "default": SMALL,
    "tanh": replace(SMALL, coupling="tanh", depth=2),
    "spline": replace(SMALL, coupling="spline", bins=4),
    "invertible": replace(SMALL, shuffle="invertible"),
    "activation": replace(SMALL, activation="inv_leaky_relu"),
    "coupling first": replace(SMALL, order="coupling", activation="inv_leaky_relu"),
    "batch norm": replace(SMALL, norm="batch"),
    "no norm": replace(SMALL, norm="none", depth=0),
}
SPECS = {
    "vector": Spec(size=1, channels=6, condition="vector", width=4),
    "odd": Spec(size=1, channels=7, condition="none"),
    "two numbers": Spec(size=1, channels=2, condition="category", width=3),
    "vector of a picture": Spec(size=1, channels=5, condition="picture", width=2),
    "map": Spec(size=4, channels=2, condition="picture", width=3),
    "map of one channel": Spec(size=4, channels=1, condition="category", width=2),
    "map of a vector": Spec(size=4, channels=3, condition="vector", width=4),
    "map of nothing, odd side": Spec(size=3, channels=3, condition="none"),
}


def need(cfg: FlowConfig) -> FlowConfig:
    if cfg.coupling == "spline":
        pytest.importorskip("zuko")
    return cfg


def condition(spec: Spec, n: int, side: int | None = None) -> Any:
    g = stream(5)
    if spec.condition == "none":
        return None
    if spec.condition == "category":
        return torch.arange(n) % spec.width
    if spec.condition == "vector":
        return torch.randn(n, spec.width, generator=g)
    side = side or (8 if spec.size == 1 else spec.size)
    return torch.randn(n, spec.width, side, side, generator=g)


def examples(spec: Spec, n: int) -> Tensor:
    return 0.3 * torch.randn(n, spec.channels, spec.size, spec.size, generator=stream(6)) + 0.1


def stirred(flow: Flow, amount: float = 0.2) -> Flow:
    """As after a long training: nothing is zero any more."""
    g = stream(7)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(amount * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return flow.eval()


def double(c: Any) -> Any:
    return c.double() if isinstance(c, Tensor) and c.is_floating_point() else c


def some(c: Any, i: int) -> Any:
    return None if c is None else c[i : i + 1]


def jacobians(flow: Flow, x: Tensor, c: Any) -> Tensor:
    """log|det ∂v/∂x| of each example by autograd."""
    found = []
    for i, one in enumerate(x):

        def v(flat: Tensor, i: int = i, one: Tensor = one) -> Tensor:
            return flow.inverse(flat.view(1, *one.shape), some(c, i))[0].flatten()

        found.append(torch.linalg.slogdet(torch.autograd.functional.jacobian(v, one.flatten()))[1])
    return torch.stack(found)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("space", SPECS)
def test_the_log_determinant_is_the_true_one_both_ways(option: str, space: str) -> None:
    spec = SPECS[space]
    amount = 0.1 if option == "spline" else 0.2  # splines may be steep enough to lose digits in double, too
    flow = stirred(Flow(spec, need(OPTIONS[option])).double(), amount)
    x, c = examples(spec, 3).double(), double(condition(spec, 3))
    v, logdet = flow.inverse(x, c)
    torch.testing.assert_close(logdet, jacobians(flow, x, c), rtol=1e-8, atol=1e-7)
    back, told = flow.draft(v, c)
    near = {"rtol": 1e-5, "atol": 1e-5} if option == "spline" else {"rtol": 1e-7, "atol": 1e-7}
    torch.testing.assert_close(back, x, **near)
    torch.testing.assert_close(told, logdet, **near)


@pytest.mark.parametrize("option", ["tanh", "default", "spline", "invertible"])
def test_every_layer_by_itself(option: str) -> None:
    heads = OPTIONS[option].heads
    flow = stirred(
        Flow(SPECS["vector"], replace(need(OPTIONS[option]), activation="inv_leaky_relu")).double()
    )
    x, h = examples(SPECS["vector"], 1).double().flatten(1), tuple(torch.randn(2, 1, 12 * heads).double())
    for layer in flow.levels[0].blocks[1]:
        assert isinstance(layer, nn.Module)

        def v(x: Tensor, layer: Any = layer) -> Tensor:
            return layer.inverse(x, h)[0].flatten()

        matrix = torch.autograd.functional.jacobian(v, x).view(6, 6)
        torch.testing.assert_close(layer.inverse(x, h)[1], torch.linalg.slogdet(matrix)[1][None])
        torch.testing.assert_close(layer(layer.inverse(x, h)[0], h)[0], x)


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(2, 9),
    side=st.sampled_from([1, 2, 3, 4, 6]),
    kind=st.sampled_from(["none", "category", "vector", "picture"]),
    blocks=st.integers(1, 4),
    levels=st.integers(1, 3),
    n=st.integers(1, 3),
)
def test_what_goes_in_comes_out(
    channels: int, side: int, kind: str, blocks: int, levels: int, n: int
) -> None:
    torch.manual_seed(0)
    spec = Spec(size=side, channels=channels, condition=kind, width=0 if kind == "none" else 3)
    flow = stirred(Flow(spec, FlowConfig(blocks=blocks, width=8, embed=3, levels=levels)).double(), 0.1)
    x, c = examples(spec, n).double(), double(condition(spec, n, max(side, 2) if side == 1 else side))
    v, logdet = flow.inverse(x, c)
    assert v.shape == x.shape and logdet.shape == (n,)
    torch.testing.assert_close(flow(v, c), x, rtol=1e-8, atol=1e-8)


def test_a_fresh_flow_is_its_shuffles_alone() -> None:
    for name in ("vector", "map"):
        spec = SPECS[name]
        x, c = examples(spec, 4), condition(spec, 4)
        v, logdet = Flow(spec, SMALL).inverse(x, c)
        assert torch.equal(logdet, torch.zeros(4))
        torch.testing.assert_close(v.flatten(1).sort(1)[0], x.flatten(1).sort(1)[0])


def test_the_condition_is_read_once_a_batch_and_steers_every_block() -> None:
    spec = SPECS["vector"]
    flow = stirred(Flow(spec, SMALL))
    calls: list[int] = []
    flow.embed.register_forward_hook(lambda *_: calls.append(1))
    x, c = examples(spec, 4), condition(spec, 4)
    v = flow.inverse(x, c)[0]
    assert len(calls) == 1 and not torch.allclose(v, flow.inverse(x, c.flip(0))[0])


# ---- as published


@pytest.mark.parametrize(
    ("d", "kind", "width", "embed", "blocks", "millions"),
    [
        (128, "vector", 128, 128, 20, 189.2),  # faces of 32 px to faces of 256 px
        (128, "category", 2, 10, 20, 179.5),  # portraits to photos
        (268, "vector", 768, 268, 24, 254.7),  # sentences to BigGAN
        (256, "vector", 1024, 256, 24, 252.4),  # sentences to COCO
        (120, "vector", 1024, 256, 24, 239.1),  # sentences to BigBiGAN
    ],
)
def test_the_papers_sizes(d: int, kind: str, width: int, embed: int, blocks: int, millions: float) -> None:
    cfg = FlowConfig(blocks=blocks, width=1024, depth=2, embed=embed, coupling="tanh", norm="batch")
    with torch.device("meta"):
        flow = Flow(Spec(size=1, channels=d, condition=kind, width=width), cfg)
    assert round(parameters(flow) / 1e6, 1) == millions


# ---- rounding


def rounding(flow: Flow, x: Tensor, c: Any) -> float:
    with torch.no_grad():
        return (flow(flow.inverse(x, c)[0], c) - x).abs().max().item()


PAPER = FlowConfig(blocks=20, width=128, depth=2, embed=32, coupling="tanh")
FACES = Spec(size=1, channels=128, condition="vector", width=128)


@pytest.mark.parametrize(
    ("option", "bound"),
    [
        ({}, 1e-5),
        ({"coupling": "affine"}, 1e-5),
        ({"shuffle": "invertible"}, 1e-5),
        ({"coupling": "spline"}, 1e-4),
    ],
)
def test_a_deep_flow_returns_in_single_precision(option: dict[str, Any], bound: float) -> None:
    """Twenty blocks of 128 numbers, with weights as torch draws them in the place of the zeros."""
    flow = Flow(FACES, need(replace(PAPER, **option))).eval()
    for name, p in flow.named_parameters():
        if ".last." in name:
            nn.init.uniform_(p, -(128**-0.5), 128**-0.5)
    x, c = 3 * examples(FACES, 64), condition(FACES, 64)
    flow.begin(x, c)
    assert rounding(flow, x, c) <= bound


def fitted(flow: Flow, draw: Any, steps: int, lr: float = 2e-3) -> Flow:
    """Adam on −log p of what ``draw(t)`` gives."""
    flow.begin(*draw(-1))
    adam = torch.optim.Adam(flow.parameters(), lr, fused=True)
    for t in range(steps):
        for group in adam.param_groups:
            group["lr"] = lr * min(1, 4 * (1 - t / steps))
        adam.zero_grad()
        nll(flow, *draw(t)).mean().backward()
        adam.step()
    return flow.eval()


def nll(flow: Flow, x: Tensor, c: Any) -> Tensor:
    v, logdet = flow.inverse(x, c)
    return (0.5 * v.square() + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1) - logdet


def mixed(t: int, n: int = 64) -> tuple[Tensor, Tensor]:
    """128 numbers that hang together by a bent 8-dimensional sheet that the condition shifts."""
    g = stream(11, t)
    w = torch.randn(8 + 128, 128, generator=stream(12)) * 8**-0.5
    c = torch.randn(n, 128, generator=g)
    u = torch.randn(n, 8, generator=g)
    x = torch.tanh(u @ w[:8]) + 0.1 * c @ w[8:] + 0.05 * torch.randn(n, 128, generator=g)
    return 0.3 * x[:, :, None, None], c


@pytest.fixture(scope="module")
def trained() -> Flow:
    torch.manual_seed(0)
    return fitted(Flow(FACES, replace(PAPER, depth=1, width=64)), mixed, 60)


def test_a_trained_flow_returns_in_single_precision(trained: Flow) -> None:
    x, c = mixed(1000)
    fresh = Flow(FACES, replace(PAPER, depth=1, width=64))
    fresh.begin(*mixed(-1))
    with torch.no_grad():
        assert nll(trained, x, c).mean() < nll(fresh, x, c).mean() - 20  # it has learned
    assert rounding(trained, x, c) <= 1e-5


def test_half_precision_stays_in_the_networks(trained: Flow) -> None:
    """In bfloat16 (8 bits) a wrong turn is 0.4 % of a scale; what moves, and its sum, stays in float32."""
    x, c = mixed(1000)
    with torch.no_grad():
        exact = trained.inverse(x, c)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            v, logdet = trained.inverse(x, c)
            back = trained(v, c)
    assert v.dtype == logdet.dtype == back.dtype == torch.float32
    assert (back - x).abs().max() < 5e-3 and (back - x).abs().median() < 1e-5
    assert (v - exact[0]).abs().max() < 0.1 and (logdet - exact[1]).abs().max() < 2e-3 * 128


# ---- the start


@pytest.mark.parametrize("space", ["vector", "map", "map of one channel"])
def test_after_the_start_every_channel_is_standard(space: str) -> None:
    spec = SPECS[space]
    flow = Flow(spec, SMALL)
    x, c = 5 + 3 * examples(spec, 300), condition(spec, 300)
    flow.begin(x, c)
    v = flow.inverse(x, c)[0]
    assert flow.begun and abs(v.mean()) < 1e-3 and abs(v.std() - 1) < 0.01
    state = {k: p.clone() for k, p in flow.state_dict().items()}
    flow.begin(x * 2, c)  # as a run that is resumed would: nothing
    assert all(torch.equal(p, state[k]) for k, p in flow.state_dict().items())


def test_the_start_goes_through_the_blocks_in_turn() -> None:
    """Behind couplings that do something, later norms are set from what reaches them."""
    spec = SPECS["vector"]
    flow = stirred(Flow(spec, SMALL), 0.3)
    x, c = examples(spec, 300), condition(spec, 300)
    flow.begin(x, c)
    (level,) = flow.levels

    def see(layer: nn.Module, y: Tensor) -> None:
        if isinstance(layer, ActNorm):
            y = layer.inverse(y, None)[0]
            torch.testing.assert_close(y.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
            torch.testing.assert_close(y.std(0, unbiased=False), torch.ones(6))
            seen.append(layer)

    seen: list[nn.Module] = []
    assert flow.regression is not None
    level.inverse((x - flow.regression(c)).flatten(1), flow.embed(c)[0], see)
    assert len(seen) == 3


def test_numbers_that_never_vary_are_no_trouble() -> None:
    spec = SPECS["vector"]
    x, c = examples(spec, 50), condition(spec, 50)
    x[:, 2] = 0.7
    flow = Flow(spec, SMALL)
    flow.begin(x, c)
    v, logdet = flow.inverse(x, c)
    assert v.isfinite().all() and logdet.isfinite().all() and v.abs().max() < 100
    assert rounding(flow, x, c) < 1e-5


@pytest.mark.parametrize("n", [1, 8])
def test_a_start_from_nothing_that_varies_is_refused(n: int) -> None:
    flow = Flow(SPECS["vector"], SMALL)
    with pytest.raises(DataError, match="needs representations that differ"):
        flow.begin(torch.full((n, 6, 1, 1), 0.3), condition(SPECS["vector"], n))
    with pytest.raises(DataError, match="not finite"):
        flow.begin(torch.full((n, 6, 1, 1), math.nan), condition(SPECS["vector"], n))
    assert not flow.begun


def test_one_map_varies_in_itself() -> None:
    spec = SPECS["map"]
    flow = Flow(spec, SMALL)
    flow.begin(examples(spec, 1), condition(spec, 1))
    assert all(p.isfinite().all() for p in flow.parameters())


# ---- what is refused


@pytest.mark.parametrize(
    "spec", [Spec(size=1, channels=1, condition="none"), Spec(size=7, channels=1, condition="none")]
)
def test_one_number_has_no_halves(spec: Spec) -> None:
    with pytest.raises(UsageError, match="no two halves"):
        Flow(spec, SMALL)


def test_settings_that_mean_nothing_are_refused() -> None:
    for wrong in ({"blocks": 0}, {"width": 0}, {"clamp": 0.0}, {"bins": 1}, {"levels": 0}, {"depth": -1}):
        with pytest.raises(UsageError):
            FlowConfig(**wrong)


def test_batch_norm_of_a_batch_of_one_is_refused() -> None:
    spec = SPECS["vector"]
    flow = Flow(spec, OPTIONS["batch norm"])
    with pytest.raises(UsageError, match="networks.flow.norm=layer"):
        flow.inverse(examples(spec, 1), condition(spec, 1))
    flow.eval().inverse(examples(spec, 1), condition(spec, 1))
