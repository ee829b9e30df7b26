"""The contest is fair (weights, batches), and its measures tell a law from its mean where both are known."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from redraft.core.types import Pair, Spec
from redraft.evaluation.features import SmallFeatures
from redraft.nets.blocks import parameters
from redraft.nets.experts import BlackBox, Expert

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TILES = BlackBox(
    lambda x: torch.nn.functional.avg_pool2d(x, 8).flatten(1)[:, :, None, None],
    name="image:tiles",
    kind="autoencoder",
    shape=(12, 1, 1),
    back=lambda z: z.view(-1, 3, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3),
)
EXPERTS = {
    "image:map": BlackBox(
        lambda x: torch.nn.functional.avg_pool2d(x, 2), name="image:map", kind="image", shape=(3, 8, 8)
    ),
    "image:vector": BlackBox(lambda x: x.mean(3).flatten(1), name="image:vector", kind="image", shape=(48,)),
}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import flow_against_mlp

    return flow_against_mlp


@pytest.fixture
def photos(bench: ModuleType) -> object:
    x = torch.nn.functional.interpolate(torch.rand(140, 3, 4, 4), size=16, mode="bilinear") * 2 - 1
    return bench.Photos(x[:100], x[100:120], x[120:])


def load(name: str) -> Expert:
    return EXPERTS[name]


@pytest.mark.parametrize("kind, width, side", [("vector", 1280, 0), ("vector", 16, 0), ("picture", 16, 16)])
def test_both_have_as_many_weights_within_two_per_cent(
    bench: ModuleType, kind: str, width: int, side: int
) -> None:
    spec = Spec(size=1, channels=128, condition=kind, width=width, side=side)  # type: ignore[arg-type]
    cfg = bench.Settings().flow(128)
    flow = bench.Flow(spec, cfg)
    mlp = bench.equal(spec, cfg, flow)
    assert parameters(mlp) == pytest.approx(parameters(flow), rel=0.02)
    assert parameters(mlp.embed) == parameters(flow.embed)


def test_translations_are_standardised_and_components_are_those_of_numpys_svd(
    bench: ModuleType, photos: object
) -> None:
    whole = bench.translation("image:vector", load, TILES, photos)
    some = bench.shortened(whole, 3)
    assert some.spec.width == 3 and some.train.condition.shape == (100, 3)
    torch.testing.assert_close(some.train.target, whole.train.target)
    c = whole.train.condition.double()
    u = torch.linalg.svd(c - c.mean(0), full_matrices=False)[0][:, :3] * 99**0.5
    torch.testing.assert_close(some.train.condition.double().abs(), u.abs(), atol=1e-4, rtol=1e-4)
    maps = bench.translation("image:map", load, TILES, photos)
    assert (maps.spec.condition, maps.spec.width, maps.spec.side) == ("picture", 3, 8)
    assert maps.train.condition.std() == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_where_a_condition_says_nothing_the_mlp_makes_the_mean_and_the_flow_the_law(
    bench: ModuleType,
) -> None:
    """x = ±0.3 by a coin that c does not show, beside a number that c does."""
    g = torch.Generator().manual_seed(0)
    c = torch.randn(1200, 3, generator=g)
    coin = torch.randint(2, (1200, 3), generator=g) * 0.6 - 0.3
    x = torch.cat([coin + 0.03 * torch.randn(1200, 3, generator=g), 0.3 * c[:, :1]], 1)[:, :, None, None]
    spec = Spec(size=1, channels=4, condition="vector", width=3)
    given = bench.Translation(spec, Pair(c[:1000], x[:1000]), Pair(c[1000:], x[1000:]), lambda z: z)
    cfg = bench.Settings(steps=120, batch=64, lr=3e-3, blocks=4, width=32)
    made = {way: bench.learn(way, given, cfg, 0) for way in bench.WAYS}
    mlp, flow = made["MLP"][0][0], made["flow"][0][0]
    assert len(made["MLP"][0]) == 1 and len(made["flow"][0]) == 2
    assert mlp[:, :3].abs().mean() < 0.1 < 0.2 < flow[:, :3].abs().mean() < 0.4
    for z in (mlp, flow):  # what the condition says is made by both
        assert bench.explained(z[:, 3:], given.test.target[:, 3:]) > 0.8
    assert bench.explained(mlp, given.test.target) > bench.explained(flow, given.test.target)
    assert set(made["flow"][1]) - set(made["MLP"][1]) == {"nats"}


def test_measures_of_copies_and_of_a_mean(bench: ModuleType, photos: object) -> None:
    measure = bench.Measures(photos, [SmallFeatures()])
    copy = measure(photos.sources)  # type: ignore[attr-defined]
    mean = measure(photos.train.mean(0, keepdim=True).expand_as(photos.sources))  # type: ignore[attr-defined]
    assert copy["PSNR"] == 100 and copy["detail"] == pytest.approx(1, abs=0.3)
    assert mean["detail"] < 0.5 and mean["KID (redraft-small-1)"] > copy["KID (redraft-small-1)"]
    assert not any(name.startswith("Fréchet") for name in copy)  # 20 pictures, 128 features
    same: Tensor = photos.sources  # type: ignore[attr-defined]
    assert measure.diversity(same, same) == 0 < measure.diversity(same, same.roll(1, 0))


def test_arms_are_kept_and_the_table_gives_differences_of_pairs(
    bench: ModuleType, photos: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measure = bench.Measures(photos, [SmallFeatures()])
    given = bench.translation("image:vector", load, TILES, photos)
    cfg = bench.Settings(steps=2, batch=4, blocks=2, width=8)
    room = bench.Bench(cfg, measure, tmp_path)
    arms = {(way, s): room.kept("image:vector", way, s, lambda: given) for way in bench.WAYS for s in (0, 1)}
    monkeypatch.setattr(bench, "learn", None)
    assert room.kept("image:vector", "flow", 1, lambda: given) == arms["flow", 1]
    results = {("image:vector", way): [arms[way, 0], arms[way, 1]] for way in bench.WAYS}
    text = bench.table(results, {"copy": measure(photos.sources)})  # type: ignore[attr-defined]
    gap = sum(arms["flow", s]["PSNR"] - arms["MLP", s]["PSNR"] for s in (0, 1)) / 2
    header, _, _, _, difference, control = text.splitlines()
    column = header.split("|").index("PSNR")
    assert difference.split("|")[column].startswith(f"{gap:+.3g} ± ") and control.split("|")[column] == "100"
    assert bench.figure(room, ["image:vector"], 0, []).shape[0] == 3
