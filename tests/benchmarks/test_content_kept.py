"""Content is 1 for a picture itself and about 0 for another of its kind, whatever a and b tell."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from redraft.core.types import Pair
from redraft.evaluation.features import SmallFeatures

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
N = 240


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import content_kept

    return content_kept


def bars(of: Tensor, seed: int = 0, channels: int = 1) -> Tensor:
    """Leaning bars [N, C, 16, 16] on black, upright (0) or lying (1), each of a width, place and grey."""
    g = torch.Generator().manual_seed(seed)
    x = torch.full((len(of), channels, 16, 16), -1.0)
    for picture, k in zip(x, of.tolist(), strict=True):
        first, width = (int(torch.randint(2, 7, (), generator=g)) for _ in range(2))
        picture[:, :, first : first + width] = torch.rand(channels, 1, 1, generator=g) * 1.2 - 0.4
        lean = int(torch.randint(0, 5, (), generator=g))
        picture[:, 8:] = picture[:, 8:].roll(lean, 2)
        if k:
            picture.copy_(picture.mT.clone())
    return x


def known(a: Tensor, b: Tensor) -> Tensor:
    return torch.cat([F.one_hot(c, 2).float() for c in (a, b)], 1)


A = torch.arange(N) % 2
B = 1 - A


@pytest.mark.parametrize("channels", [1, 3])
def test_content_of_a_picture_itself_is_one_and_of_another_of_its_kind_about_none(
    kept: ModuleType, channels: int
) -> None:
    x = bars(A, channels=channels)
    own, other = kept.content(x, x, known(A, B)), kept.content(x, bars(A, 1, channels), known(A, B))
    apart = kept.content(x, x, known(A, B), kept.strangers(A))
    for name, values in own.items():
        assert kept.value(values) == pytest.approx(1, abs=1e-6)
        assert abs(kept.value(other[name])) < 3.5 / N**0.5 > abs(kept.value(apart[name]))


def test_what_conditions_tell_is_no_content(kept: ModuleType) -> None:
    """Brightness set by a alone would correlate fully; once a is known, nothing of it is left."""
    x = bars(A) * 0.1 - 0.5 + A[:, None, None, None]
    y = bars(A, 1) * 0.1 - 0.5 + A[:, None, None, None]
    both = (torch.ones(N, 1), known(A, B))
    plain, cleared = (kept.value(kept.content(x, y, c)["brightness"]) for c in both)
    assert plain > 0.9 and abs(cleared) < 3.5 / N**0.5


def test_content_is_the_partial_correlation(kept: ModuleType) -> None:
    x, y = bars(A), bars(A).roll(1, 3) * 0.5 + bars(A, 1) * 0.5
    found = kept.content(x, y, known(A, B))
    from content import statistics

    for name, ours in statistics(x).items():
        left = []
        for values in (ours, statistics(y)[name]):
            left.append(values - values[A == 0].mean() * (A == 0) - values[A == 1].mean() * (A == 1))
        assert kept.value(found[name]) == pytest.approx(stats.pearsonr(*left).statistic, abs=1e-6)


def test_a_constant_picture_keeps_nothing(kept: ModuleType) -> None:
    x = bars(A)
    found = kept.content(x.mean(0, keepdim=True).expand_as(x), x, known(A, B))
    assert all(abs(kept.value(values)) < 1e-3 for values in found.values())


def test_statistics_of_drawn_things(kept: ModuleType) -> None:
    from content import statistics

    x = torch.full((3, 1, 32, 32), -1.0)
    x[0, :, 8:24, 12:20] = 1  # twice as high as wide
    x[1, :, 8:24, 12:20] = 0  # the same, half as bright
    x[2, :, torch.arange(32), torch.arange(32)] = 1  # falls to the right
    found = statistics(x)
    assert found["brightness"].tolist() == pytest.approx([1, 0.5, 1])
    assert found["area"].tolist() == pytest.approx([128 / 1024, 128 / 1024, 32 / 1024])
    assert found["height"][0] / found["width"][0] == pytest.approx(2, rel=0.02)
    assert found["slant"].tolist() == pytest.approx([0, 0, 1], abs=1e-6)


def test_strangers_are_others_of_the_same_label(kept: ModuleType) -> None:
    labels = torch.tensor([2, 0, 1, 0, 2, 2, 1])
    other = kept.strangers(labels)
    assert (labels[other] == labels).all() and (other != torch.arange(7)).all()
    assert other.sort().values.tolist() == list(range(7))
    assert (kept.partners(7) - torch.arange(7)).abs().min() >= 3


class Mirror(torch.nn.Module):
    """A fusion that knows the law of bars: turns an upright one into a lying one, all else kept."""

    domains = False
    initializer = SimpleNamespace(z_shape=(1, 16, 16))

    def exchange(self, x: Tensor, a: Tensor, b: Tensor, strength: float) -> Tensor:
        turned = torch.where((a == b)[:, None, None, None], x, x.mT)
        return torch.lerp(x, turned, strength)

    def from_residual(self, v: Tensor, b: Tensor) -> Tensor:
        return bars(b, 7)


def test_a_perfect_exchange_scores_as_it_should(kept: ModuleType) -> None:
    """All numbers but those that the turn swaps are kept, the judge sees b, and KID is low."""
    model = SimpleNamespace(
        method=Mirror(),
        bridge=SimpleNamespace(given=lambda c: c, wanted=lambda x: x, view=lambda z: z),
        task=SimpleNamespace(names=("upright", "lying")),
    )
    train = Pair(A, bars(A, 3))

    def says(x: Tensor, c: Tensor) -> Tensor:
        lying = (x > -1).any(2).all(2)[:, 0]  # something in every column
        return (lying == c.bool()).double()

    given = kept.Case(bars(A), A, B, Pair(B, bars(B, 5)), train, says)
    f = SmallFeatures()
    real = f(given.real.target)
    rows = dict(kept.ways(given, [model], [0, 1]))
    cells = {name: kept.measured(made[0], given, f, real, None) for name, made in rows.items()}
    assert len(rows) == 7
    one, zero = cells["strength 1"], cells["strength 0 (reconstruction)"]
    assert one["says b"].mean() == zero["says a"].mean() == 1 and one["says a"].mean() == 0
    for name in ("brightness", "area", "texture"):
        assert kept.value(one[name]) > 0.99
        assert abs(kept.value(cells["residual drawn, not kept"][name])) < 0.23
    kid = next(name for name in one if name.startswith("KID"))
    assert one[kid].value < cells["mean of b"][kid].value
    text = kept.table({name: kept.over_runs([c, c]) for name, c in cells.items()})
    assert text.splitlines()[2].startswith("|strength 0 (reconstruction)|")
    assert kept.figure(given, model, [1]).shape[0] == 3
