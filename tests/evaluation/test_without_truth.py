"""Translation without pairs: distances to unrelated pictures, content kept, and no word of a truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from redraft.core.types import Pair
from redraft.evaluation.agreement import _angles, _likeness, content_kept
from redraft.evaluation.evaluate import Agreement, Asked, evaluate
from redraft.evaluation.features import SmallFeatures
from redraft.evaluation.table import UNCHANGED, Scores
from redraft.evaluation.words import findings
from redraft.sampling.langevin import blur


def lying(n: int, seed: int) -> Tensor:
    """Lying bars at random heights, [n, 1, 16, 16], bright on dark."""
    g = torch.Generator().manual_seed(seed)
    at = torch.randint(2, 12, (n, 1), generator=g)
    rows = torch.arange(16)
    bars = torch.where((rows >= at) & (rows < at + 3), 0.7, -0.7)[:, None, :, None].expand(n, 1, 16, 16)
    return bars + 0.05 * torch.randn(n, 1, 16, 16, generator=g)


def test_content_survives_colour_contrast_and_texture_and_nothing_else() -> None:
    c = torch.randn(20, 3, 5, 5, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    c = torch.nn.functional.interpolate(c, size=(64, 64), mode="bicubic") * 0.6
    stripes = 0.3 * torch.arange(64).mul(torch.pi / 2).sin()  # 16 across
    torch.testing.assert_close(content_kept(c, c), torch.ones(20).double())
    torch.testing.assert_close(content_kept(0.1 - 0.5 * c, c), torch.ones(20).double())
    assert content_kept(c + stripes, c).min() > 0.9
    assert content_kept(c.roll(1, 0), c).mean().abs() < 0.3
    turned = content_kept(c.mT, c).mean()  # the same lines elsewhere
    assert turned < 0.3
    flat = torch.zeros(20, 3, 64, 64)
    assert content_kept(flat, flat + 0.5).eq(1).all() and content_kept(flat, c).eq(0).all()


def test_content_of_crossing_lines_by_hand() -> None:
    """Ramps across, down, and aslant: |g| at twice the angle, so a right angle is −1 and half of it 0."""
    across = torch.linspace(-1, 1, 32).expand(1, 1, 32, 32)
    inner = slice(8, 24)  # where no border bends the ramp

    def kept(a: Tensor, b: Tensor) -> float:
        tensors = [_angles(p, 32).view(2, 32, 32)[:, inner, inner].reshape(1, -1) for p in (a, b)]
        return _likeness(*tensors).item()

    assert kept(across, across.mT) == pytest.approx(-1)
    assert kept(across, (across + across.mT) / 2) == pytest.approx(0, abs=1e-6)
    assert kept(across, -across) == pytest.approx(1)


@pytest.fixture(scope="module")
def translated() -> dict[str, Scores]:
    """Lying bars given, standing ones wanted: a translator that turns them, and one that does nothing."""
    given, unseen = lying(150, 7), lying(40, 8)
    wanted, held_out = lying(150, 9).mT, lying(40, 10).mT
    asked = Asked(
        features=SmallFeatures(),
        agreements=[Agreement(name="content", says="", score=content_kept)],
        distance=lambda x, truth: pytest.fail("there is no truth"),
        paired=False,
        variants=2,
    )

    def scores(change: Callable[[Tensor], Tensor]) -> Scores:
        def draw(c: Tensor, n: int, *, variant: int, refine: int | None) -> SimpleNamespace:
            return SimpleNamespace(drafts=blur(change(c)), images=change(c), energies=torch.zeros(n))

        return evaluate(draw, Pair(given, wanted), Pair(unseen, held_out), asked)

    return {"turned": scores(lambda c: c.mT), "left": scores(lambda c: c)}


def test_without_pairs_nothing_is_measured_against_a_truth(translated: dict[str, Scores]) -> None:
    scores = translated["turned"]
    assert list(scores.rows) == ["draft", "refined", UNCHANGED, "real, training", "real, held out"]
    names = {m.name for m in scores.measures}
    assert not names & {"PSNR", "SSIM", "LPIPS"} and {"content", "diversity", "coverage"} <= names
    assert not scores.truth and not scores.paired and scores.worth is None and not scores.points
    kid = {row: cells["KID (redraft-small-1)"] for row, cells in scores.rows.items() if "held" not in row}
    assert kid["refined"].high < kid[UNCHANGED].low  # turned bars stand, as those that are wanted
    content = {row: cells["content"].value for row, cells in scores.rows.items()}
    assert content[UNCHANGED] == pytest.approx(1) and content["refined"] < 0
    assert "diversity" not in scores.rows["real, held out"] and scores.rows["refined"]["diversity"].value == 0
    said = " ".join(f"{f.says} {f.behind}" for f in findings(scores))
    assert "truth" not in said and "true picture" not in said and "unchanged, do" not in said
    assert "no more of what is given than unrelated" in said and "pairs" not in said
    assert Scores.from_dict(json.loads(json.dumps(scores.to_dict()))) == scores


def test_a_translator_that_does_nothing_loses_to_the_given_pictures(translated: dict[str, Scores]) -> None:
    first = findings(translated["left"])[0]
    assert "given pictures, unchanged, do as well or better in KID" in first.says
    assert "content" not in first.says  # which they keep by definition
    assert any("keep most of the given" in f.says for f in findings(translated["left"]))
