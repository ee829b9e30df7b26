"""The report of a comparison, and its plot."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from redraft.core.images import to_tensor
from redraft.evaluation.compare import Advice, Over
from redraft.evaluation.comparison import Comparison, System, markdown, write
from redraft.evaluation.cost import cost, peak, reset_peak
from redraft.evaluation.plots import Mark, curve_plot
from redraft.evaluation.table import Interval, Measure

KID = Measure("KID (small)", "lower", "distance")
NAN = float("nan")


def system(name: str, value: float, row: str = "refined") -> System:
    cell = Over(value, (value - 0.1, value + 0.1), Interval(value, value - 0.3, value + 0.3))
    pictures = {"draft": 0.0, "refined": 0.2, "nearest": 0.4, "variant 0": 0.6, "variant 1": 0.8}
    return System(
        name=name,
        refined_by="refined, K = 5",
        row=row,
        rows={"draft": {"KID (small)": cell}, "refined": {"KID (small)": cell}},
        training={"steps": "120, 130"},
        troubles=["seed 1: went <back>"],
        worth=Over.of([Interval(0.3, 0.1, 0.5)]),
        curve={"KID (small)": [Mark(5, value, value, value, "0"), Mark(20, value, value, value, "5")]},
        pictures={k: torch.full((3, 1, 16, 16), v) for k, v in pictures.items()},
    )


def page(*systems: System) -> Comparison:
    return Comparison(
        title="labels: <houses>",
        facts={"data": "a & b"},
        advice=Advice(kind="clear", chosen=("a",), says="Take a.", reasons=()),
        measures=(KID,),
        systems=systems,
        controls={"real, training": {"KID (small)": Interval(0.0, -0.1, 0.1)}},
        real={"condition": torch.zeros(3, 3, 32, 32), "truth": torch.ones(3, 1, 16, 16)},
        worth_of="error",
    )


def test_the_columns_are_condition_truth_and_each_methods_draft_and_refined(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    text = write(page(system("a", 1.0), system("b", 2.0, row="draft")), tmp_path).read_text()
    order = [text.index(f"inputs-{i}.png") for i in range(6)]
    assert order == sorted(order) and "inputs-6.png" not in text
    middles = []
    for i in range(6):
        column = np.asarray(Image.open(tmp_path / f"inputs-{i}.png"))
        assert column.shape[0] > 2.8 * column.shape[1]  # three pictures, one below the other
        middles.append(round(float(to_tensor(column)[0, column.shape[0] // 2, column.shape[1] // 2]), 1))
    assert middles == [0.0, 1.0, 0.0, 0.2, 0.0, 0.2]
    assert text.count('<div class="chosen">') == 2  # one default a method


def test_names_of_users_are_escaped_and_troubles_are_told(tmp_path: Path) -> None:
    text = write(page(system("<b>", 1.0)), tmp_path).read_text()
    assert "<houses>" not in text and "&lt;houses&gt;" in text and "a &amp; b" in text
    assert "&lt;b&gt;: seed 1: went &lt;back&gt;" in text


def test_a_cell_has_both_intervals(tmp_path: Path) -> None:
    text = write(page(system("a", 1.0)), tmp_path).read_text()
    assert '1.00<small>0.700 … 1.30</small><small class="seeds">seeds 0.900 … 1.10</small>' in text
    assert "|KID (small)|1.00 [0.700, 1.30]; 0.900 to 1.10|" in markdown(page(system("a", 1.0)))


def test_the_worth_of_the_score_belongs_to_refined_pictures(tmp_path: Path) -> None:
    text = write(page(system("a", 1.0)), tmp_path).read_text()
    row = text[text.index("worth of the score") :].split("</tr>")[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert "none" in cells[0] and cells[1].startswith("0.30") and "none" in cells[2]


def test_a_method_without_a_run_is_a_column_of_the_training_table_alone(tmp_path: Path) -> None:
    failed = System(name="c", refined_by="", row="refined", rows={}, training={"why not": "no such task"})
    text = write(page(system("a", 1.0), failed), tmp_path).read_text()
    assert "no such task" in text and "inputs-3.png" in text and "inputs-4.png" not in text
    nothing = write(page(failed), tmp_path / "alone").read_text()
    assert "no such task" in nothing and "<img" not in nothing


def test_a_curve_lies_at_the_logarithm_of_its_times() -> None:
    marks = [Mark(1, 0.0, 0.0, 0.0, "0"), Mark(10, 0.5, 0.4, 0.6, "1"), Mark(100, 1.0, 1.0, 1.0, "2")]
    drawn = curve_plot({"a": marks, "b": [Mark(3, NAN, 0, 0)]}, {"real": 0.25, "none": NAN}, x="ms", y="q")
    at = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    assert len(at) == 3 and at[1] - at[0] == pytest.approx(at[2] - at[1], abs=0.2)
    up = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawn)]
    dashed = float(re.findall(r'y1="([\d.]+)" y2="[\d.]+" stroke="#6b6a66" stroke-dasharray', drawn)[0])
    assert dashed == pytest.approx((up[0] + up[1]) / 2, abs=0.2)  # 0.25 lies between 0 and 0.5
    assert drawn.count("stroke-dasharray") == 1 and ">b<" not in drawn and ">real<" in drawn


def test_the_peak_of_memory_is_seen() -> None:
    before = reset_peak("cpu")
    if before != before:
        pytest.skip("this system does not tell")
    torch.ones(30_000_000).sum()  # 120 MB
    assert 100 < peak("cpu") - before < 400


def test_a_second_call_holds_what_the_first_did_though_the_process_has_kept_it() -> None:
    """Small blocks that are freed stay with the process, and would cost nothing when they are used again."""

    def call() -> None:
        [torch.ones(20_000) for _ in range(800)]  # 64 MB

    call()
    for _ in range(2):
        held = cost(call).megabytes
        if held != held:
            pytest.skip("this system does not tell")
        assert 50 < held < 120
