"""CUT's step: both PatchNCE terms by hand, places that cover the map, FastCUT's mirrored inputs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from redraft import losses
from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, PictureNoise, stream
from redraft.core.types import Pair, Spec
from redraft.methods.cut import Cut, _across
from redraft.nets.cut import Translator
from redraft.nets.pix2pix import PatchGAN
from redraft.recipes import fast
from redraft.tasks.unpaired import Unpaired

SPEC = Spec(size=32, channels=3, condition="picture", width=3, paired=False)
BLIND = Spec(size=32, channels=3, condition="none")


def cut(**settings: object) -> Cut:
    torch.manual_seed(0)
    nets = {"solver": PatchGAN(BLIND, 8), "initializer": Translator(SPEC, 8, blocks=1, heads=16)}
    return Cut(Cut.Config(**{"patches": 16, **settings}), **nets)  # type: ignore[arg-type]


def batch(n: int = 4) -> Pair:
    c, x = (torch.rand(n, 3, 32, 32, generator=stream(s)) * 2 - 1 for s in (1, 2))
    return Pair(c, x)


def nce(m: Cut, source: Tensor, translation: Tensor, places: list[Tensor]) -> Tensor:
    """Mean over layers of PatchNCE between a translation and where it came from, in passes of their own."""
    keys, queries = m.generator.encode(source, places), m.generator.encode(translation, places)
    terms = [losses.patch_nce(q, k, m.cfg.temperature) for q, k in zip(queries, keys, strict=True)]
    return torch.stack(terms).mean()


def drawn(m: Cut, n: int) -> list[Tensor]:
    rng, x = BatchNoise(stream(5)), torch.zeros(n, 1)
    return [m._places(x, side, rng) for side in m.generator.sides]


def test_both_terms_by_hand() -> None:
    """Half the sum of both, as in the authors' code."""
    m, (c, x) = cut(nce=2.0, identity=3.0), batch()
    made, own = m.propose(Pair(c, x), BatchNoise(stream(5)))
    none, places = c[:, :0, 0, 0], drawn(m, 8)
    torch.testing.assert_close(made, m.generator(none, c))
    about_c = nce(m, c, m.generator(none, c), [p[:4] for p in places])
    about_x = nce(m, x, m.generator(none, x), [p[4:] for p in places])
    torch.testing.assert_close(own, (2 * about_c + 3 * about_x) / 2, rtol=1e-4, atol=1e-5)


def test_without_identity_the_wanted_side_is_not_asked() -> None:
    m, (c, x) = cut(nce=2.0, identity=0.0), batch()
    made, own = m.propose(Pair(c, x), BatchNoise(stream(5)))
    torch.testing.assert_close(own, 2 * nce(m, c, made, drawn(m, 4)), rtol=1e-4, atol=1e-5)
    assert torch.equal(m.propose(Pair(c, x.flip(0)), BatchNoise(stream(5)))[1], own)


def test_a_mirrored_input_is_compared_mirrored_back() -> None:
    """With flip: for mirrored rows the query is the translation's patch at the mirrored place."""
    m, (c, x) = cut(nce=1.0, identity=0.0, flip=True), batch(8)
    made, own = m.propose(Pair(c, x), BatchNoise(stream(5)))
    rng = BatchNoise(stream(5))
    places = [m._places(c, side, rng) for side in m.generator.sides]
    rows = rng.normal(8, 1)[:, 0] > 0
    assert 0 < rows.sum() < 8
    given = torch.stack([p.flip(2) if r else p for p, r in zip(c, rows, strict=True)])
    torch.testing.assert_close(made, m.generator(c[:, :0, 0, 0], given))
    terms = []
    for side, place, key, full in zip(
        m.generator.sides, places, m.generator.encode(c, places), range(len(places)), strict=True
    ):
        back = torch.stack(
            [p // side * side + side - 1 - p % side if r else p for p, r in zip(place, rows, strict=True)]
        )
        every = [back if i == full else p for i, p in enumerate(places)]
        terms.append(losses.patch_nce(m.generator.encode(made, every)[full], key, m.cfg.temperature))
    torch.testing.assert_close(own, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)


def test_the_mirrored_place() -> None:
    side = 5
    grid = torch.arange(side**2).view(1, 1, side, side)
    places = torch.arange(side**2)[None]
    assert torch.equal(grid.flip(3).flatten()[_across(places, side)[0]], grid.flatten())


@pytest.mark.parametrize(("patches", "side"), [(16, 8), (64, 8), (256, 8), (10, 7)])
def test_places_are_distinct_and_cover_the_map(patches: int, side: int) -> None:
    m = cut(patches=patches)
    rng = BatchNoise(stream(0))
    seen = torch.cat([m._places(torch.zeros(50, 1), side, rng) for _ in range(20)])
    assert seen.shape[1] == min(patches, side**2)
    assert seen.min() == 0 and seen.max() == side**2 - 1 and len(seen.unique()) == side**2
    assert (seen.diff(dim=1) > 0).all()


def test_the_step_is_two_turns_and_heads_learn_with_the_generator() -> None:
    m, pair, calls = cut(), batch(), []

    class Recorder:
        done = 0.0

        def __call__(self, net: nn.Module, loss: Tensor) -> None:
            calls.append((net, loss.detach()))
            loss.backward(inputs=list(net.parameters()))

        def restart(self, net: nn.Module) -> None:
            raise AssertionError("nothing is restarted")

    values = m.step(pair, Recorder(), BatchNoise(stream(5)))
    assert [net for net, _ in calls] == [m.discriminator, m.generator]
    heads = list(m.generator.heads.parameters())  # type: ignore[union-attr]
    assert heads and all(p.grad is not None and p.grad.abs().sum() > 0 for p in heads)
    made, own = m.propose(pair, BatchNoise(stream(5)))
    real, fake = m.discriminator.logits(pair.target, ()), m.discriminator.logits(made, ())
    torch.testing.assert_close(calls[0][1], ((real - 1) ** 2).mean() + (fake**2).mean())
    torch.testing.assert_close(calls[1][1], ((fake - 1) ** 2).mean() + own, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(values["own"], own, rtol=1e-4, atol=1e-5)


def test_the_discriminator_knows_no_condition() -> None:
    m, (c, x) = cut(), batch()
    assert torch.equal(m.energy(x, c), m.energy(x, c.flip(0)))
    sample = m.generate(c, 4, PictureNoise(0, range(4)), refine=2)
    assert sample.images.shape == x.shape and not torch.equal(sample.images, sample.drafts)
    again = m.generate(c, 4, PictureNoise(9, range(4)))
    assert torch.equal(again.images, sample.drafts)  # no z: one translation


def test_fastcut_is_the_published_setting() -> None:
    quick = fast(Unpaired(size=32, channels=3, condition_channels=3), "cut", 100).method
    assert isinstance(quick, Cut.Config)
    assert (quick.nce, quick.identity, quick.flip, quick.loss) == (10.0, 0.0, True, "least_squares")
    assert replace(quick, nce=1.0, identity=1.0, flip=False) == Cut.Config()


@pytest.mark.parametrize(
    "wrong", [{"nce": -1.0}, {"identity": -1.0}, {"patches": 1}, {"temperature": 0.0}, {"r1": -1.0}]
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match=f"method.{next(iter(wrong))}"):
        Cut.Config(**wrong)
