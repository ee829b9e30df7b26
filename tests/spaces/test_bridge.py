"""Between what people see and what networks work on: shapes, scales, and nothing where no expert stands."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.types import Spec
from redraft.nets.experts import BlackBox
from redraft.spaces.bridge import GRID, MOST, REACH, Bridge, fold, represented
from redraft.spaces.sentence import Sentence


def blocks(side: int = 4, gain: float = 5.0) -> BlackBox:
    """An autoencoder that loses nothing: a cell's points become channels, times ``gain`` and one more."""
    return BlackBox(
        lambda x: gain * F.pixel_unshuffle(x, side) + 1,
        name="image:blocks",
        kind="autoencoder",
        shape=lambda size: (3 * side**2, size // side, size // side),
        back=lambda z: F.pixel_shuffle((z - 1) / gain, side),
    )


def letters() -> BlackBox:
    count = lambda words: torch.tensor([[w.count(chr(97 + k)) for k in range(26)] for w in words]).float()  # noqa: E731
    return BlackBox(count, name="text:letters", kind="text", shape=(26,))


def nothing(c: Tensor, n: int) -> Tensor | None:
    return None


def as_seen(c: Tensor, n: int) -> Tensor:
    return c.expand(-1, 3, -1, -1)


def spec(condition: str = "none", width: int = 0, size: int = 16, **more: object) -> Spec:
    return Spec(size=size, channels=3, condition=condition, width=width, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("raw", "condition", "target", "wanted"),
    [
        (spec(), (), (), spec()),
        (spec("category", 5), (), (32, 2, 2), Spec(size=2, channels=32, condition="category", width=5)),
        (spec("sentence", 256), (384,), (), spec("vector", 384)),
        (
            spec("sentence", 256),
            (384,),
            (64, 1, 1),
            Spec(size=1, channels=64, condition="vector", width=384),
        ),
        (spec("picture", 3), (), (), spec("picture", 3)),
        (  # raw pictures beside a latent four times coarser: all 16 points of a cell are kept
            spec("picture", 3),
            (),
            (32, 4, 4),
            Spec(size=4, channels=32, condition="picture", width=48, side=4),
        ),
        (  # a latent beside pixels, interpolated to their side
            spec("picture", 3),
            (32, 2, 2),
            (),
            spec("picture", 32, side=16),
        ),
        (
            spec("picture", 1),
            (7,),
            (32, 4, 4),
            Spec(size=4, channels=32, condition="vector", width=7),
        ),
        (spec("picture", 3), (64, 1, 1), (), spec("vector", 64)),  # a map of one place is a vector
        (
            spec("picture", 3, paired=False),
            (64, 1, 1),
            (64, 1, 1),
            Spec(size=1, channels=64, condition="picture", width=64, paired=False, side=1),
        ),
        (  # a vector target looks at maps of GRID at most
            spec("picture", 3, size=64),
            (),
            (128, 1, 1),
            Spec(size=1, channels=128, condition="picture", width=3 * 16, side=GRID),
        ),
        (  # no more than MOST channels: 200 points of a cell are averaged first
            spec("picture", 100, size=64),
            (),
            (32, 8, 8),
            Spec(size=8, channels=32, condition="picture", width=100, side=8),
        ),
    ],
)
def test_what_networks_must_know(
    raw: Spec, condition: tuple[int, ...], target: tuple[int, ...], wanted: Spec
) -> None:
    assert represented(raw, condition, target) == wanted


@pytest.mark.parametrize(("channels", "side", "grid"), [(3, 16, 4), (12, 16, 4), (60, 16, 4), (1, 8, 8)])
def test_folding_is_a_mean_and_then_points_as_channels(channels: int, side: int, grid: int) -> None:
    c = torch.randn(2, channels, side, side)
    cell = side // grid
    keeps = max(r for r in (1, 2, 4) if r <= cell and (r == 1 or channels * r * r <= MOST))
    mean = cell // keeps  # points a side that are averaged into one that is kept
    wanted = torch.zeros(2, channels * keeps**2, grid, grid)
    for k in range(channels):
        for y in range(side):
            for x in range(side):
                (gy, py), (gx, px) = divmod(y, cell), divmod(x, cell)
                place = k * keeps**2 + (py // mean) * keeps + px // mean
                wanted[:, place, gy, gx] += c[:, k, y, x] / mean**2
    torch.testing.assert_close(fold(c, grid), wanted)
    task = spec("picture", channels, size=side)
    assert represented(task, (), (8, grid, grid)).width == wanted.shape[1]


@pytest.mark.parametrize(("side", "grid"), [(12, 8), (2, 16), (28, 3)])
def test_sides_that_do_not_divide_are_interpolated(side: int, grid: int) -> None:
    assert fold(torch.full((1, 5, side, side), 0.5), grid).sub(0.5).abs().max() < 1e-6
    assert fold(torch.randn(1, 5, side, side), grid).shape == (1, 5, grid, grid)
    assert represented(spec("picture", 5, size=side), (), (8, grid, grid)).width == 5


def test_without_experts_the_very_same_tensors_come_back() -> None:
    bridge = Bridge(spec("picture", 3), as_seen)
    x, c = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16)
    assert bridge.open and bridge.spec == bridge.raw
    assert (
        bridge.wanted(x) is x and bridge.view(x) is x and bridge.given(c) is c and bridge.given(None) is None
    )


def test_scales_are_fitted_and_undone() -> None:
    bridge = Bridge(spec(), nothing, target=blocks())
    x = 0.7 * torch.rand(50, 3, 16, 16) - 0.2
    bridge.fit(None, bridge.look(x))
    z = bridge.wanted(x)
    assert z.shape == (50, 48, 4, 4) and not bridge.open
    std, mean = torch.std_mean(z, (0, 2, 3))
    torch.testing.assert_close(mean, torch.zeros(48), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.full((48,), 1 / REACH), atol=1e-4, rtol=0)
    torch.testing.assert_close(bridge.view(z), x)
    other = Bridge(spec(), nothing, target=blocks())
    other.rescale(bridge.scales())
    assert torch.equal(other.wanted(x), z)


def test_a_channel_that_never_changes_is_not_divided_by_nothing() -> None:
    bridge = Bridge(spec(), nothing, target=blocks())
    x = torch.zeros(8, 3, 16, 16)
    bridge.fit(None, bridge.look(x))
    assert torch.isfinite(bridge.wanted(x)).all() and bridge.wanted(x).abs().max() < 1


def test_sentences_are_standardised_number_by_number() -> None:
    bridge = Bridge(spec("sentence", 256), nothing, condition=letters())
    c = Sentence().encode(["a red shoe", "a blue boat", "three cats"])
    bridge.fit(bridge.see(c), None)
    v = bridge.given(c)
    assert v is not None and v.shape == (3, 26)
    used = bridge.see(c).std(0) > 0
    torch.testing.assert_close(v.mean(0), torch.zeros(26), atol=1e-5, rtol=0)
    torch.testing.assert_close(v[:, used].std(0), torch.ones(int(used.sum())))


def test_a_grey_picture_goes_through_an_expert_of_colours_and_comes_back_grey() -> None:
    grey = Spec(size=16, channels=1, condition="picture", width=1)
    bridge = Bridge(grey, as_seen, condition=blocks(), target=blocks())
    x, c = torch.rand(2, 1, 16, 16) * 2 - 1, torch.rand(2, 1, 16, 16)
    assert bridge.wanted(x).shape == (2, 48, 4, 4)
    torch.testing.assert_close(bridge.view(bridge.wanted(x)), x)
    given = bridge.given(c)
    assert given is not None and given.shape == (2, bridge.spec.width, 4, 4) == (2, 48, 4, 4)


def test_a_category_passes_a_bridge_that_has_an_expert_on_the_other_side_alone() -> None:
    bridge = Bridge(spec("category", 3), nothing, target=blocks())
    c = torch.tensor([0, 2])
    assert bridge.given(c) is c


def test_a_picture_that_no_expert_reads_is_folded_to_the_latents_grid() -> None:
    bridge = Bridge(spec("picture", 1), as_seen, target=blocks(8))
    c = torch.randn(2, 1, 16, 16)
    given = bridge.given(c)
    assert given is not None and torch.equal(given, F.pixel_unshuffle(c, 8))
    assert bridge.spec.width == 64 and bridge.spec.side == bridge.spec.size == 2


def test_a_code_of_one_place_is_given_as_a_vector() -> None:
    bridge = Bridge(spec("picture", 3), as_seen, condition=blocks(16), target=blocks())
    c = torch.randn(20, 3, 16, 16)
    bridge.fit(bridge.see(c), None)
    given = bridge.given(c)
    assert given is not None and given.shape == (20, 768) and bridge.spec.condition == "vector"
    torch.testing.assert_close(given.std(0), torch.ones(768))


def test_sides_without_pairs_lie_in_one_space_at_one_scale() -> None:
    """A picture is the same latent on either side: a network that changes nothing keeps it."""
    bridge = Bridge(spec("picture", 3, paired=False), as_seen, condition=blocks(), target=blocks())
    x = 1.9 * torch.rand(50, 3, 16, 16) - 0.95
    bridge.fit(bridge.see(x), bridge.look(x))
    given = bridge.given(x)
    assert given is not None and torch.equal(given, bridge.wanted(x))
    torch.testing.assert_close(bridge.view(given), x, atol=1e-5, rtol=1e-5)


def test_principal_components_of_a_latent_are_vectors_of_the_whole_picture() -> None:
    bridge = Bridge(spec(), nothing, target=blocks(), components=5)
    assert (bridge.spec.size, bridge.spec.channels) == (1, 5)
    x = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    bridge.fit(None, bridge.look(x))
    z = bridge.wanted(x)
    assert z.shape == (40, 5, 1, 1)
    torch.testing.assert_close(z.std(0, correction=0).flatten(), torch.full((5,), 1 / REACH))
    _, _, v = torch.linalg.svd((x - x.mean(0)).flatten(1), full_matrices=False)  # blocks() keeps distances
    flat = (x - x.mean(0)).flatten(1)
    torch.testing.assert_close(
        bridge.view(z), (x.mean(0) + (flat @ v[:5].T @ v[:5]).view_as(x)).clamp(-1, 1), atol=1e-4, rtol=0
    )
    other = Bridge(spec(), nothing, target=blocks(), components=5)
    other.rescale(bridge.scales())
    torch.testing.assert_close(other.wanted(x), z)


@pytest.mark.parametrize(("examples", "says"), [(6, "components=5 or less"), (2, r"components=0 \(all")])
def test_more_components_than_examples_have_are_refused(examples: int, says: str) -> None:
    bridge = Bridge(spec(), nothing, target=blocks(), components=9)
    with pytest.raises(UsageError, match=says):  # what it says is a number that can be had
        bridge.fit(None, bridge.look(torch.rand(examples, 3, 16, 16)))
