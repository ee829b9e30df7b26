"""What a comparison concludes from planted tables."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from redraft.evaluation.compare import Advice, Contender, Over, clearly, recommend
from redraft.evaluation.table import Interval, Measure

KID = Measure("KID (small)", "lower", "")
SEEN = Measure("mIoU", "higher", "", agreement=True)
LPIPS = Measure("LPIPS", "lower", "")
PSNR = Measure("PSNR", "higher", "")
DIVERSITY = Measure("diversity", "one", "")
TIME = Measure("ms a picture", "lower", "")
MEASURES = (KID, SEEN, PSNR, LPIPS, DIVERSITY, TIME)
CONTROLS = {
    "mean picture": {
        "KID (small)": Interval(10, 9, 11),
        "mIoU": Interval(0.05, 0.04, 0.06),
        "PSNR": Interval(30, 29, 31),  # a blur has the best PSNR of all
        "LPIPS": Interval(0.7, 0.68, 0.72),
    },
    "nearest training condition's": {
        "KID (small)": Interval(0, -0.1, 0.1),  # a real picture: no method comes near
        "mIoU": Interval(0.15, 0.13, 0.17),
        "LPIPS": Interval(0.5, 0.48, 0.52),
    },
    "real, training": {"KID (small)": Interval(0, -0.1, 0.1), "mIoU": Interval(0.6, 0.5, 0.7)},
}


def over(value: float, half: float, *seeds: float) -> Over:
    return Over(value, seeds or (value,), Interval(value, value - half, value + half))


def method(
    name: str,
    *,
    kid: float = 1.0,
    seen: float = 0.4,
    lpips: float = 0.3,
    varied: float = 0.5,
    ms: float = 10.0,
    half: float = 0.02,
    seeds: int = 3,
    failed: int = 0,
    why: str = "",
    row: str = "refined",
) -> Contender:
    cells = {
        "KID (small)": over(kid, 10 * half),
        "mIoU": over(seen, half),
        "PSNR": over(13, 0.5),
        "LPIPS": over(lpips, half),
        "diversity": over(varied, half),
        "ms a picture": over(ms, 0),
    }
    cells = cells if seeds else {}
    return Contender(name=name, cells=cells, seeds=seeds, failed=failed, why=why, row=row)


def advice(*contenders: Contender) -> Advice:
    return recommend(contenders, CONTROLS, MEASURES, 37)


def all_words(said: Advice) -> str:
    return " ".join([said.says, *(f"{f.says} {f.behind}" for f in said.reasons)])


def test_a_clear_winner_is_named_with_where_it_wins_and_what_it_costs() -> None:
    said = advice(method("good", kid=0.5, lpips=0.2, ms=40), method("poor", kid=2.0, lpips=0.35, row="draft"))
    assert (said.kind, said.chosen) == ("clear", ("good",))
    assert said.says.startswith("Take good: it is clearly better than poor in KID and LPIPS")
    words = all_words(said)
    assert "Agreement (mIoU): no clear difference." in words
    assert "poor (draft) makes a picture the fastest; good (refined) takes 4.0 times as long" in words
    assert "good (refined) is clearly better than the mean picture in KID, mIoU and LPIPS." in words
    assert "relies on KID (small), mIoU, LPIPS and diversity." in words
    assert "PSNR" not in said.says


def test_overlap_is_no_clear_difference_and_names_the_cheaper() -> None:
    said = advice(method("one", kid=1.0, ms=30), method("other", kid=1.2, ms=6))  # 0.8..1.2 and 1.0..1.4
    assert (said.kind, said.chosen) == ("no clear difference", ("one", "other"))
    assert said.says.startswith("No clear difference between one and other: the intervals overlap.")
    assert said.says.endswith("other costs least (6.00 ms a picture).")


def test_seeds_that_overlap_are_no_clear_difference_though_pictures_agree() -> None:
    a, b = method("a", lpips=0.30, half=0.005), method("b", lpips=0.33, half=0.005)
    assert advice(a, b).kind == "clear"
    wide = dict(b.cells) | {"LPIPS": over(0.33, 0.005, 0.30, 0.33, 0.36)}
    scattered = Contender(name="b", cells=wide, seeds=3)
    assert advice(a, scattered).kind == "no clear difference"


@pytest.mark.parametrize("control", ["mean picture", "nearest training condition's"])
def test_a_winner_that_loses_to_a_control_is_never_recommended(control: str) -> None:
    """Better than the other method by far, but worse than what costs nothing."""
    worse = {"mean picture": dict(kid=12.0, seen=0.01, lpips=0.8)}.get(control, dict(seen=0.1, lpips=0.6))
    worst = {k: v * (0.5 if k == "seen" else 1.5) for k, v in worse.items()}
    said = advice(method("winner", **worse), method("loser", **worst))
    assert (said.kind, said.chosen) == ("none", ())
    assert "No method can be recommended" in said.says and "winner" not in said.says
    assert "LPIPS: winner clearly better than loser." in all_words(said)  # told all the same
    assert f"winner (refined) loses to the {control}" in all_words(said)


def test_one_that_loses_to_a_control_leaves_the_other() -> None:
    said = advice(method("varied", seen=0.1, lpips=0.6, varied=0.95), method("sound"))
    assert (said.kind, said.chosen) == ("clear", ("sound",))
    assert said.says.endswith("Left out: varied, not clearly better than each control.")


def test_a_method_that_only_ties_with_a_control_is_not_recommended() -> None:
    said = advice(method("a", seen=0.16, lpips=0.5), method("b", seen=0.15, lpips=0.51))
    assert said.kind == "none"
    assert "a (refined) is not clearly better than the nearest training condition's picture in anything." in (
        all_words(said)
    )


def test_the_kid_of_a_real_picture_and_psnr_decide_nothing_against_a_method() -> None:
    """The mean picture has the best PSNR, the nearest training picture the best KID: neither counts."""
    said = advice(method("a", kid=0.5), method("b", kid=3.0))
    assert (said.kind, said.chosen) == ("clear", ("a",))


def test_a_given_picture_handed_back_agrees_with_itself_which_is_no_feat() -> None:
    controls = {"given picture, unchanged": {"KID (small)": Interval(5, 4.8, 5.2), "mIoU": Interval.exact(1)}}
    better, worse = method("a", kid=2.0), method("b", kid=5.0)
    assert recommend([better, worse], controls, MEASURES, 37).chosen == ("a",)
    assert recommend([worse, method("c", kid=9.0)], controls, MEASURES, 37).kind == "none"


def test_a_handful_of_pictures_is_a_hint() -> None:
    good, poor = method("a", kid=0.5), method("b", kid=3.0)
    said = recommend([good, poor], CONTROLS, MEASURES, 8)
    assert said.chosen == ("a",) and "With 8 held-out pictures this is a hint, not a result." in said.says
    assert "hint" not in advice(good, poor).says


def test_a_mixed_result_against_a_control_is_told() -> None:
    said = advice(method("a", kid=0.5, lpips=0.6), method("b", kid=3.0, lpips=0.6))
    assert said.chosen == ("a",)
    assert "is clearly better than the nearest training condition's picture in mIoU, but worse in LPIPS." in (
        all_words(said)
    )


def test_quality_against_diversity_is_left_to_the_reader() -> None:
    said = advice(method("sharp", lpips=0.2, varied=0.0), method("rich", lpips=0.35, varied=0.6))
    assert (said.kind, said.chosen) == ("trade-off", ("sharp", "rich"))
    assert said.says == "It depends on what matters: sharp for LPIPS, rich for diversity."


def test_that_variety_is_paid_for_in_distances_to_one_truth_is_told() -> None:
    paid = "LPIPS asks for the one true picture"
    assert paid in all_words(advice(method("fixed", varied=0.0), method("rich", varied=0.6)))
    assert paid not in all_words(advice(method("a", varied=0.5), method("b", varied=0.6)))
    without = [m for m in MEASURES if m is not LPIPS]
    contenders = [method("fixed", varied=0.0), method("rich", varied=0.6)]
    assert paid not in all_words(recommend(contenders, CONTROLS, without, 37))


def test_diversity_is_best_at_that_of_real_pictures() -> None:
    near, noisy = Interval(1.02, 1.0, 1.04), Interval(1.6, 1.58, 1.62)
    assert clearly(near, noisy, DIVERSITY) == 1 and clearly(noisy, near, DIVERSITY) == -1
    assert clearly(Interval.exact(0.90), Interval.exact(0.85), DIVERSITY) == 0  # no interval: nearly equal


def test_a_third_method_that_is_left_behind_is_told_in_what() -> None:
    said = advice(method("a"), method("b", kid=1.1), method("c", varied=0.0))
    assert (said.kind, said.chosen) == ("no clear difference", ("a", "b"))
    assert "c is clearly worse than a and b in diversity." in said.says


def test_of_three_the_one_that_none_beats_is_taken() -> None:
    said = advice(method("a", kid=0.5), method("b", kid=1.5), method("c", kid=3.0))
    assert (said.kind, said.chosen) == ("clear", ("a",))
    assert "than b and c in KID" in said.says
    assert "KID (small): a clearly better than b and c; b clearly better than c." in all_words(said)


@pytest.mark.parametrize(
    ("seeds", "words"), [(1, "One seed: what another would change"), (2, "which is few")]
)
def test_few_seeds_are_told(seeds: int, words: str) -> None:
    assert words in all_words(advice(method("a", seeds=seeds), method("b", seeds=seeds)))
    assert words not in all_words(advice(method("a"), method("b")))


def test_failures_are_told_and_a_method_without_a_seed_is_not_judged() -> None:
    said = advice(
        method("a", kid=0.5, seeds=2, failed=1, why="ran away"),
        method("b", kid=2.0),
        method("c", seeds=0, failed=3, why="no such task"),
    )
    assert said.chosen == ("a",)
    words = all_words(said)
    assert "1 of 3 seeds of a failed. ran away" in words and "c could not be compared. no such task" in words


def test_when_all_failed_nothing_is_recommended() -> None:
    said = advice(method("a", seeds=0, failed=1, why="x"), method("b", seeds=0, failed=1, why="y"))
    assert (said.kind, said.chosen) == ("none", ())
    assert "a could not be compared. x" in all_words(said)


def test_a_number_that_lacks_decides_nothing() -> None:
    assert clearly(None, Interval.exact(1.0), KID) == 0
    assert clearly(Interval.exact(math.nan), Interval.exact(1.0), KID) == 0
    a = Contender(name="a", cells={k: v for k, v in method("a").cells.items() if k != "KID (small)"}, seeds=3)
    assert "KID" not in advice(a, method("b", kid=99.0)).says


def same_pictures(gap: float, *seeds: float) -> tuple[Contender, Contender]:
    """Pictures that differ far more than methods: the intervals overlap; b's values are a's plus ``gap``."""
    values = [0.1 * i for i in range(10)]
    a, b = method("a"), method("b")
    a = replace(a, cells={**a.cells, "LPIPS": over(0.30, 0.15, 0.29, 0.31)}, each={"LPIPS": values})
    cells = {**b.cells, "LPIPS": over(0.30 + gap, 0.15, *seeds)}
    return a, replace(b, cells=cells, each={"LPIPS": [v + gap for v in values]})


def test_differences_on_the_same_pictures_decide_where_a_measure_has_a_value_a_picture() -> None:
    a, b = same_pictures(0.05, 0.34, 0.36)
    assert a.cells["LPIPS"].interval.overlaps(b.cells["LPIPS"].interval)
    said = advice(a, b)
    assert (said.kind, said.chosen) == ("clear", ("a",))
    assert "picture by picture: a − b −0.0500" in all_words(said)


def test_but_not_where_seeds_overlap_or_pictures_are_others() -> None:
    a, b = same_pictures(0.05, 0.30, 0.40)
    assert advice(a, b).kind == "no clear difference"
    a, b = same_pictures(0.05, 0.34, 0.36)
    other = replace(b, each={"LPIPS": b.each["LPIPS"][:5]})  # measured on other pictures
    assert advice(a, other).kind == "no clear difference"
    assert "picture by picture" not in all_words(advice(a, other))


def test_pictures_that_disagree_are_no_difference() -> None:
    a, b = same_pictures(0.05, 0.34, 0.36)
    mixed = [v + (0.5 if i % 2 else -0.4) for i, v in enumerate(a.each["LPIPS"])]  # +0.05 in the mean
    assert advice(a, replace(b, each={"LPIPS": mixed})).kind == "no clear difference"


def test_rounding_is_no_difference() -> None:
    """Tasks that put known pixels back have errors of 0 and 1e-7, without an interval."""
    kept = Measure("known pixels", "lower", "", agreement=True)
    assert clearly(Interval.exact(0.0), Interval.exact(1e-7), kept) == 0
    assert clearly(Interval.exact(0.0), Interval.exact(0.4), kept) == 1


def test_over_seeds() -> None:
    cell = Over.of([Interval(1.0, 0.9, 1.1), Interval(2.0, 1.8, 2.2)])
    assert cell.value == 1.5 and cell.seeds == (1.0, 2.0)
    assert cell.pictures == pytest.approx((1.5, 1.35, 1.65))
    assert cell.interval == pytest.approx((1.5, 1.0, 2.0))  # the seeds lie wider
