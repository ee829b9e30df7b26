from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from redraft.core.types import Pair
from redraft.evaluation.agreement import edge_agreement
from redraft.evaluation.evaluate import Agreement, Asked, Draw, evaluate
from redraft.evaluation.features import SmallFeatures
from redraft.evaluation.judge import agreement, doubt, train_judge
from redraft.evaluation.plots import line_plot, scatter_plot, ticks
from redraft.evaluation.report import Gallery, Page, read_metrics, write
from redraft.evaluation.segmenter import confusion, mean_iou, train_segmenter
from redraft.evaluation.table import NEAREST, Interval, Scores, short
from redraft.evaluation.words import findings
from redraft.sampling.langevin import blur
from redraft.spaces.edges import draw_edges


def shapes(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Bars, lying or standing, at random places: pictures [n, 1, 16, 16] and categories."""
    g = torch.Generator().manual_seed(seed)
    y, at = torch.randint(2, (n,), generator=g), torch.randint(2, 12, (n,), generator=g)
    x = torch.full((n, 1, 16, 16), -0.7)
    for i in range(n):
        x[i, 0, at[i] : at[i] + 3] = 0.7
    x = torch.where(y[:, None, None, None] == 1, x.mT, x)
    return x + 0.05 * torch.randn(x.shape, generator=g), y


@pytest.fixture(scope="module")
def judged() -> tuple[object, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    from redraft.evaluation import judge

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "SEEN", 3000)
        train, test = shapes(400, 0), shapes(120, 1)
        return train_judge(*train, 2), train, test


def test_the_judge_knows_real_pictures_and_wrong_categories(judged: tuple) -> None:
    judge, _, (x, y) = judged
    assert agreement(judge, x, y).mean() > 0.97
    assert agreement(judge, x, 1 - y).mean() < 0.03
    assert doubt(judge, x, y).mean() < 0.1 < 0.9 < doubt(judge, x, 1 - y).mean()


def test_the_judge_is_the_same_each_time_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from redraft.evaluation import judge

    monkeypatch.setattr(judge, "SEEN", 300)
    x, y = shapes(100, 0)
    before = torch.get_rng_state()
    a, b = train_judge(x, y, 2), train_judge(x, y, 2, cache=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    monkeypatch.setattr(judge, "fit", lambda *_, **__: pytest.fail("trained again"))
    again = train_judge(x, y, 2, cache=tmp_path)
    for one, other in ((a, b), (b, again)):
        assert all(
            torch.equal(p, q)
            for p, q in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )
    with pytest.raises(BaseException, match="trained again"):  # other data, another judge
        train_judge(x + 1e-3, y, 2, cache=tmp_path)
    next(tmp_path.glob("*.safetensors")).write_bytes(b"damaged")
    with pytest.raises(BaseException, match="trained again"):
        train_judge(x, y, 2, cache=tmp_path)


def test_the_segmenter_learns_where_things_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from redraft.evaluation import segmenter

    monkeypatch.setattr(segmenter, "SEEN", 1000)
    (x, _), (new, _) = shapes(200, 0), shapes(40, 1)

    def shares(x: Tensor) -> Tensor:
        return torch.cat([(x < 0).float(), (x >= 0).float(), torch.zeros_like(x)], 1)  # a label that is never

    net = train_segmenter(x, shares(x))
    right = mean_iou(confusion(net, new, shares(new)))
    wrong = mean_iou(confusion(net, new.roll(1, 0), shares(new)))
    assert right.value > 0.8 and right.low <= right.value <= right.high and wrong.high < right.low
    assert confusion(net, new, shares(new)).sum((1, 2)).tolist() == [256] * 40


def test_mean_iou_by_hand() -> None:
    c = torch.tensor([[[3.0, 1, 0], [2, 4, 0], [0, 0, 0]]], dtype=torch.float64)
    assert mean_iou(c).value == pytest.approx((3 / 6 + 4 / 7) / 2)


def drawer(sharp: float, seed: int = 5) -> Draw:
    """Drafts are blurred real pictures of the category; refining brings ``sharp`` of the detail back."""
    pool, y = shapes(600, seed)

    def draw(c: Tensor, n: int, *, variant: int, refine: int | None) -> SimpleNamespace:
        g = torch.Generator().manual_seed(variant)
        start = int(torch.randint(200, (), generator=g))
        x = torch.stack([pool[y == k][start + i % 60] for i, k in enumerate(c.tolist())])
        soft = blur(blur(x))
        made = soft if refine == 0 else torch.lerp(soft, x, sharp)
        return SimpleNamespace(drafts=soft, images=made, energies=(made - x).square().mean((1, 2, 3)))

    return draw


@pytest.fixture(scope="module")
def scores(judged: tuple) -> Scores:
    judge, (x, y), (new, new_y) = judged
    asked = Asked(
        features=SmallFeatures(),
        agreements=[
            Agreement(name="category agreement", says="asked <b>", score=lambda x, c: agreement(judge, x, c))
        ],
        doubt=lambda x, c: doubt(judge, x, c),
        batch=50,
    )
    return evaluate(drawer(0.9), Pair(y, x), Pair(new_y, new), asked)


def test_categories_are_measured_beside_their_controls(scores: Scores) -> None:
    rows = scores.rows
    assert list(rows) == [
        "draft",
        "refined",
        "mean picture of the category",
        "real, training",
        "real, held out",
    ]
    kid = {row: cells["KID (redraft-small-1)"] for row, cells in rows.items() if row != "real, held out"}
    assert kid["real, training"].low < 0.05 and kid["refined"].high < kid["draft"].low
    assert kid["mean picture of the category"].low > kid["real, training"].high
    assert rows["mean picture of the category"]["diversity"].value == 0
    assert rows["real, training"]["diversity"].value == pytest.approx(1, abs=0.15)
    assert "PSNR" not in rows["refined"]  # a category has no single truth
    assert rows["refined"]["ms a picture"].value > 0
    assert "category agreement" in scores.change


def test_scores_go_through_json(scores: Scores) -> None:
    assert Scores.from_dict(json.loads(json.dumps(scores.to_dict()))) == scores
    assert "|refined|" in scores.markdown() and "redraft-small-1" in scores.markdown()


def test_every_number_of_features_carries_their_name(scores: Scores) -> None:
    for measure in scores.measures:
        if measure.name.startswith(("KID", "Fréchet")):
            assert measure.name.endswith("(redraft-small-1)")


def edges(x: Tensor) -> Tensor:
    return draw_edges(x)


def test_pictures_as_conditions_have_a_truth(judged: tuple) -> None:
    _, (x, _), (new, _) = judged

    def draw(c: Tensor, n: int, *, variant: int, refine: int | None) -> SimpleNamespace:
        by_ink = {tuple(d.flatten().tolist()): p for d, p in zip(edges(new), new, strict=True)}
        truth = torch.stack([by_ink[tuple(d.flatten().tolist())] for d in c])
        soft = blur(truth)  # whatever the variant: z is ignored
        made = soft if refine == 0 else truth * 0.98
        return SimpleNamespace(drafts=soft, images=made, energies=torch.zeros(n))

    asked = Asked(
        features=SmallFeatures(),
        agreements=[Agreement(name="edge agreement", says="", score=edge_agreement)],
        variants=2,
    )
    found = evaluate(draw, Pair(edges(x), x), Pair(edges(new), new), asked)
    assert {"mean picture", "nearest training condition's"} <= found.rows.keys()
    psnr = {row: cells["PSNR"].value for row, cells in found.rows.items() if "PSNR" in cells}
    assert psnr["refined"] > psnr["draft"] > psnr["mean picture"]
    assert found.rows["real, held out"]["edge agreement"].value == 1
    assert found.change["PSNR"].low > 0
    assert found.rows["refined"]["diversity"].value == 0
    said = " ".join(f.says for f in findings(found))
    assert "Refining makes PSNR better." in said and "one picture a condition" in said
    assert "copies" not in found.rows["real, training"]


def test_pictures_alone_need_no_condition(judged: tuple) -> None:
    _, (x, _), (new, _) = judged

    def draw(c: None, n: int, *, variant: int, refine: int | None) -> SimpleNamespace:
        return SimpleNamespace(drafts=x[:n], images=x[:n], energies=torch.zeros(n))  # a thief

    found = evaluate(draw, Pair(None, x), Pair(None, new), Asked(features=SmallFeatures()))
    assert found.worth is None and found.rows["refined"]["copies"].value == 1
    assert any("suspiciously near" in f.says for f in findings(found))


def test_a_report_opens_with_what_takes_its_worth(scores: Scores) -> None:
    m = "category agreement"
    cells = {name: {m: Interval(v, v - 0.05, v + 0.05)} for name, v in (("draft", 0.5), ("refined", 0.9))}
    mean = {m: Interval(0.95, 0.9, 1.0)}
    rows = cells | {"mean picture of the category": mean, "real, held out": {m: Interval(0.9, 0.8, 1.0)}}
    lost = Scores.from_dict(scores.to_dict() | {"rows": rows, "change": {}, "pictures": 19})
    first, second, *rest = [f.says for f in findings(lost)]
    assert "Fewer than 20" in first and f"mean picture does as well or better in {m}" in second
    assert not any("cannot be told from real ones by" in says for says in rest)
    assert any("says nothing of how they agree" in says for says in rest)
    won = Scores.from_dict(
        lost.to_dict() | {"rows": rows | {"mean picture of the category": {m: Interval(0.2, 0.1, 0.3)}}}
    )
    assert any("cannot be told from real ones by" in f.says for f in findings(won))
    many = Scores.from_dict(won.to_dict() | {"pictures": 20})
    assert not any("Fewer than" in f.says or "mean picture" in f.says for f in findings(many))


def test_a_nearest_picture_wins_against_its_truth_alone(scores: Scores) -> None:
    measures = [
        {"name": n, "better": "higher", "says": "", "digits": 3, "agreement": False}
        for n in ("PSNR", "coverage")
    ]
    rows = {"refined": {n: Interval.exact(0.5) for n in ("PSNR", "coverage")}}
    rows |= {NEAREST: {n: Interval.exact(0.6) for n in ("PSNR", "coverage")}}
    found = Scores.from_dict(scores.to_dict() | {"measures": measures, "rows": rows, "change": {}})
    first = findings(found)[0]
    assert "Looking up" in first.says and "PSNR" in first.says and "coverage" not in first.says


def with_rows(scores: Scores, **rows: dict[str, Interval]) -> Scores:
    return Scores.from_dict(scores.to_dict() | {"rows": rows, "change": {}})


def test_overlapping_intervals_are_no_clear_difference(scores: Scores) -> None:
    name = "KID (redraft-small-1)"
    close = with_rows(
        scores, draft={name: Interval(0.5, 0.4, 0.6)}, refined={name: Interval(0.45, 0.35, 0.55)}
    )
    apart = with_rows(scores, draft={name: Interval(0.5, 0.4, 0.6)}, refined={name: Interval(0.8, 0.7, 0.9)})
    assert any("no clear difference" in f.says for f in findings(close))
    assert any("KID (redraft-small-1) worse" in f.says for f in findings(apart))


@pytest.mark.parametrize(
    ("low", "high", "says"), [(-0.1, 0.2, "does not order"), (0.6, 0.8, "well"), (-0.5, -0.2, "wrong way")]
)
def test_the_worth_of_the_score_is_said(scores: Scores, low: float, high: float, says: str) -> None:
    found = Scores.from_dict(scores.to_dict() | {"worth": [(low + high) / 2, low, high]})
    assert any(says in f.says for f in findings(found))


def page(scores: Scores, **more: object) -> Page:
    x, _ = shapes(14, 3)
    evil = "<script>alert('x')</script>&\""
    galleries = [Gallery(title=evil, says=evil, rows={evil: x, "b": x[:, :, :8, :8]})]
    return Page(title=evil, facts={evil: evil}, scores=scores, galleries=galleries, command=evil, **more)


def test_the_report_opens_from_disk_with_everything_escaped(scores: Scores, tmp_path: Path) -> None:
    chain = torch.zeros(2, 5, 1, 16, 16)
    metrics = {"energy_data": [(1, 0.0), (2, float("nan")), (3, 1.0)], "<i>": [(1, 1.0)]}
    more = {"trace": chain, "trace_energies": torch.zeros(2, 5), "metrics": metrics}
    index = write(page(scores, **more), tmp_path / "report")
    text = index.read_text()
    assert "<script" not in text and "&lt;script&gt;" in text and "asked &lt;b&gt;" in text
    assert not re.findall(r"(?:src|href)=\"(?:https?:|//|/|file:)", text) and "@import" not in text
    used = set(re.findall(r"(?:src|href)=\"([^\"]+)\"", text))
    assert used == {p.name for p in index.parent.iterdir()} - {"index.html"}
    assert Scores.from_dict(json.loads((index.parent / "scores.json").read_text())) == scores
    assert "KID (redraft-small-1)" in text and "What was learned" in text


def test_the_report_is_well_formed(scores: Scores, tmp_path: Path) -> None:
    from html.parser import HTMLParser

    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "img", "!doctype"):
                self.open.append(tag)

        def handle_startendtag(self, tag: str, attrs: object) -> None: ...

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    balance = Balance()
    balance.feed(write(page(scores), tmp_path / "report").read_text())
    assert not balance.open


def test_metrics_of_a_killed_run_are_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,move,wait\n1,0.5,\n2,0.25,0.1\n3,0.")
    assert read_metrics(tmp_path / "metrics.csv") == {"move": [(1, 0.5), (2, 0.25)], "wait": [(2, 0.1)]}


def test_plots_are_svg_whatever_the_values() -> None:
    import xml.etree.ElementTree as ET

    for points in (
        [],
        [(1, 1)],
        [(0, 0), (1, 0)],
        [(i, 1e9 * i) for i in range(5000)],
        [(0, float("inf")), (1, -2e-9)],
    ):
        for svg in (
            line_plot({"a<b": points, "c": points}, x="<x>", y="y&"),
            scatter_plot(points, x="<x>", y="y&"),
        ):
            root = ET.fromstring(svg)
            for node in root.iter():
                for key in ("x", "y", "cx", "cy", "x1", "x2", "y1", "y2"):
                    assert -1 <= float(node.get(key, 0)) <= 561
            assert len(svg) < 90_000


def test_ticks_are_round_and_enclose() -> None:
    assert ticks([0, 1]) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    for values in ([-3.2, 7.7], [1e-7, 3e-7], [5, 5], [0, 0], [123456, 123457]):
        t = ticks(values)
        assert t[0] <= min(values) + 1e-12 and t[-1] >= max(values) - 1e-12 and 2 <= len(t) <= 12


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1234"), (0.91234, "0.912"), (-0.00281, "−0.0028"), (12.3456, "12.3")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text
