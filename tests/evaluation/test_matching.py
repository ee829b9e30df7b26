"""The right caption is found where pictures tell it, and by chance where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from redraft.core.errors import UsageError
from redraft.core.ridge import STRENGTHS, ridge
from redraft.core.types import Pair
from redraft.evaluation.evaluate import Asked, evaluate
from redraft.evaluation.matching import caption_agreements, fit_matcher, one_each, retrieval


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Pixels:
    """Pictures of one number a pixel are their own features."""

    name = "pixels"

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def world(n: int, seed: int, noise: float = 0.3) -> tuple[Tensor, Tensor]:
    """Pictures [n, 1, 5, 5] that show, with noise, what vectors [n, 8] say."""
    says = normal(n, 8, seed=seed)
    shown = says @ normal(8, 25, seed=99) + noise * normal(n, 25, seed=seed + 1)
    return shown.view(n, 1, 5, 5), says


@pytest.fixture(scope="module")
def fitted() -> object:
    return fit_matcher(*world(400, 1), Pixels())


def places(matcher: object, x: Tensor, text: Tensor) -> Tensor:
    return matcher.ranks(x, text, torch.arange(len(x)))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("n", "d"), [(40, 7), (15, 30)])
def test_left_out_errors_are_those_of_fits_without_each(n: int, d: int) -> None:
    """Allen's closed form against n fits by the normal equations; the least of them is chosen."""
    x, y = normal(n, d).double(), normal(n, 3, seed=1).double() + normal(n, d).double()[:, :3]
    found = ridge(x, y)
    u = x - x.mean(0)
    top = torch.linalg.eigvalsh(u.T @ u).max()
    totals = []
    for strength in STRENGTHS:
        total = 0.0
        for i in range(n):
            keep = torch.arange(n) != i
            # the mean is not penalised: a column of ones beside x about the whole mean
            design = torch.cat([torch.ones(n - 1, 1).double(), u[keep]], 1)
            penalty = strength * top * torch.eye(d + 1).double()
            penalty[0, 0] = 0
            w = torch.linalg.solve(design.T @ design + penalty, design.T @ y[keep])
            total += (y[i] - torch.cat([torch.ones(1).double(), u[i]]) @ w).square().sum().item()
        totals.append(total)
    assert found.strength == STRENGTHS[int(torch.tensor(totals).argmin())]
    plain = ((y - y.mean(0)) * n / (n - 1)).square().sum().item()
    assert found.told == pytest.approx(1 - min(totals) / plain, rel=1e-6)
    w = torch.linalg.solve(u.T @ u + found.strength * top * torch.eye(d).double(), u.T @ (y - y.mean(0)))
    torch.testing.assert_close(found(x), y.mean(0) + u @ w)


def test_where_nothing_is_told_the_mean_is_all() -> None:
    found = ridge(normal(60, 4), normal(60, 2, seed=5))
    assert found.told < 0.05 and found.weights.abs().max() < 0.3
    constant = ridge(torch.ones(9, 3), normal(9, 2))
    assert constant.weights.isfinite().all() and constant.weights.abs().max() < 1e-6


def test_the_right_caption_is_found_and_a_wrong_one_is_not(fitted: object) -> None:
    x, text = world(100, 7)
    truth = retrieval(places(fitted, x, text), 100)
    wrong = retrieval(places(fitted, x.roll(1, 0), text), 100)
    assert truth.at[1].value > 0.8 and truth.median.value == 1 and truth.at[10].value > 0.95
    assert wrong.at[10].low <= 0.1 <= wrong.at[10].high and 35 < wrong.median.value < 65
    assert truth.chance == {1: 0.01, 5: 0.05, 10: 0.1} and (truth.pictures, truth.captions) == (100, 100)


def test_an_expert_that_sees_nothing_gives_the_middle_place(fitted: object) -> None:
    _, text = world(51, 7)
    same = torch.zeros(51, 1, 5, 5)
    assert sorted(places(fitted, same, text).tolist()) == list(range(1, 52))  # one order for all
    blind = fit_matcher(torch.zeros(40, 1, 5, 5), normal(40, 8), Pixels())
    assert (places(blind, same, text) == 26).all()


def test_equal_captions_are_one_and_both_are_right(fitted: object) -> None:
    x, text = world(20, 7)
    twice = torch.cat([text, text])
    of, first = one_each(twice)
    assert of.tolist() == [*range(20), *range(20)] and first.tolist() == list(range(20))
    matcher = fitted
    for right in (torch.arange(20), torch.arange(20, 40)):
        found = matcher.ranks(x, twice, right)  # type: ignore[attr-defined]
        assert torch.equal(found, places(matcher, x, text))
    scaled = matcher.ranks(x, 3 * text, torch.arange(20))  # type: ignore[attr-defined]
    assert torch.equal(scaled, places(matcher, x, text))  # directions count, not lengths


def test_a_place_does_not_depend_on_the_order_of_captions(fitted: object) -> None:
    x, text = world(30, 3)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    shuffled = fitted.ranks(x, text[order], order.argsort())  # type: ignore[attr-defined]
    assert torch.equal(shuffled, places(fitted, x, text))


def test_doubt_is_less_of_the_right_caption(fitted: object) -> None:
    x, text = world(50, 7)
    assert fitted.doubt(x, text).mean() < 0.2 < 0.8 < fitted.doubt(x, text.roll(1, 0)).mean()  # type: ignore[attr-defined]


def test_a_matcher_is_kept_and_read_again(tmp_path: Path) -> None:
    class Counting(Pixels):
        calls = 0

        def __call__(self, x: Tensor) -> Tensor:
            self.calls += len(x)
            return super().__call__(x)

    x, text = world(60, 1)
    eyes = Counting()
    one = fit_matcher(x, text, eyes, tmp_path)
    before = eyes.calls
    two = fit_matcher(x, text, eyes, tmp_path)
    assert eyes.calls - before == 1 and float(two.told) > 0.5
    assert torch.equal(places(one, x, text), places(two, x, text))
    fit_matcher(x, text.flip(0), eyes, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_pictures_known_by_heart_are_no_better_than_others() -> None:
    """More features than pictures, and nothing to learn: a plain regression would find every caption."""
    x, text = normal(60, 1, 12, 12), normal(60, 8, seed=1)
    matcher = fit_matcher(x, text, Pixels())
    found = retrieval(places(matcher, x, text), 60)
    assert found.at[10].low <= 1 / 6 and found.median.value > 15
    told, says = world(200, 1, noise=2.0)
    matcher = fit_matcher(told, says, Pixels())
    own, other = (retrieval(places(matcher, *pair), 200) for pair in ((told, says), world(200, 7, noise=2.0)))
    assert own.at[1].low <= other.at[1].high and own.at[10].low <= other.at[10].high


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(UsageError, match="too few"):
        fit_matcher(*world(9, 1), Pixels())


class Made:
    def __init__(self, x: Tensor) -> None:
        self.drafts = self.images = x
        self.energies = x.flatten(1).mean(1)


def test_measures_stand_in_the_table_beside_their_controls(fitted: object) -> None:
    """Conditions as the task has them (bytes); a draw that shows half of the captions."""
    known, test = world(80, 1), world(60, 7)
    code = torch.arange(140, dtype=torch.uint8)[:, None].expand(-1, 4)
    says = torch.cat([known[1], test[1]])
    calls = []

    def vectors(c: Tensor) -> Tensor:
        calls.append(len(c))
        return says[c[:, 0].long()]

    def draw(c: Tensor, n: int, *, variant: int, refine: int | None) -> Made:
        x = test[0][c[:, 0].long() - 80].clone()
        x[::2] = 0
        return Made(x)

    asked = Asked(
        features=Pixels(),
        agreements=caption_agreements(fitted, vectors, "text:toy"),  # type: ignore[arg-type]
        describe=vectors,
        batch=60,
    )
    scores = evaluate(draw, Pair(code[:80], known[0]), Pair(code[80:], test[0]), asked)
    assert {"caption@1", "caption@5", "caption@10", "caption's place"} <= {m.name for m in scores.measures}
    real, made = (scores.rows[row]["caption@1"].value for row in ("real, held out", "draft"))
    assert real > 0.8 and 0.4 < made < 0.6
    assert scores.rows["mean picture"]["caption@10"].value == pytest.approx(10 / 60)
    assert scores.rows["real, held out"]["caption's place"].value == 1
    assert len(calls) <= 2 + len(scores.rows)  # places are found once a row
