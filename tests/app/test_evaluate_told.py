"""What ``evaluate`` is asked for beside the usual, and what it says where there is little to measure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from painting import Cli, paint
from toys import Letters

from redraft.app import captions
from redraft.app.bridges import TEXT as USUAL
from redraft.app.compare_measure import Protocol
from redraft.core.types import Pair
from redraft.evaluation.evaluate import Asked
from redraft.evaluation.features import SmallFeatures
from redraft.evaluation.matching import caption_agreements
from redraft.evaluation.once import OnceSeen
from redraft.spaces.sentence import Sentence


class Usual(Letters):
    """Stands for the usual reader of sentences."""

    def __init__(self, foreign: float) -> None:
        super().__init__()
        self.name, self.share = USUAL, foreign

    def foreign(self, sentences: object) -> float:
        return self.share


def judge_of(report: Path) -> str:
    """What the page says of who judges captions."""
    measures = json.loads((report / "scores.json").read_text())["measures"]
    return next(m["says"] for m in measures if m["name"] == "caption@1")


@pytest.mark.usefixtures("toys")
def test_captions_are_judged_by_the_usual_reader_and_the_page_says_so(
    cli: Cli, text_run: Path, words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions, "_usual", lambda: Usual(0.0))
    told = cli("evaluate", text_run, words, "--pictures=4", f"--out={tmp_path / 'report'}")
    assert told.status == 0, told.err
    assert f"captions as {USUAL} reads them" in judge_of(tmp_path / "report")
    assert f"captions as {USUAL} reads them" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize(("foreign", "one"), [(0.0, True), (1.0, False), (None, False)])
def test_models_with_several_readers_have_one_judge_where_it_knows_the_words(
    monkeypatch: pytest.MonkeyPatch, foreign: float | None, one: bool
) -> None:
    monkeypatch.setattr(captions, "_usual", lambda: None if foreign is None else Usual(foreign))
    some = Sentence().encode(["a red ball", "a blue dot"])
    for own in ("text:one", "text:other"):
        model = SimpleNamespace(bridge=SimpleNamespace(condition=Letters()), device="cpu")
        model.bridge.condition.name = own
        see, name = captions.reader(model, some)
        assert name == (USUAL if one else own)
        assert torch.equal(see(some), Letters().count(["a red ball", "a blue dot"]))


def test_what_another_judge_measured_is_measured_again() -> None:
    def key(reader: str) -> str:
        agreements = caption_agreements(None, lambda c: c, reader)  # type: ignore[arg-type]
        asked = Asked(features=OnceSeen(SmallFeatures()), agreements=agreements)
        x = torch.zeros(2, 3, 4, 4)
        return Protocol(known=Pair(None, x), held_out=Pair(None, x), asked=asked, device="cpu").key("hash")

    assert key("text:one") == key("text:one") != key("text:other")


@pytest.mark.usefixtures("toys")
def test_cold_noise_has_no_diversity_and_the_report_says_the_temperature(
    cli: Cli, text_run: Path, words: Path, tmp_path: Path
) -> None:
    told = cli("evaluate", text_run, words, "--temperature=0", f"--out={tmp_path / 'cold'}")
    assert told.status == 0, told.err
    assert "drawn at temperature 0." in told.out
    scores = json.loads((tmp_path / "cold" / "scores.json").read_text())
    assert scores["rows"]["draft"]["diversity"] == [0, 0, 0]
    assert "drawn at temperature 0." in (tmp_path / "cold" / "index.html").read_text()
    hot = cli("evaluate", text_run, words, "--temperature=3", f"--out={tmp_path / 'hot'}")
    assert hot.status == 2 and "between 0 and 2" in hot.err and not (tmp_path / "hot").exists()


def test_other_models_have_no_temperature(cli: Cli, recover_run: Path, discs: Path, tmp_path: Path) -> None:
    told = cli("evaluate", recover_run, discs, "--temperature=1", f"--out={tmp_path / 'report'}")
    assert told.status == 2 and "leave it out" in told.err


def test_few_or_equal_held_out_pictures_give_no_number_rather_than_none_at_all(
    cli: Cli, recover_run: Path, tmp_path: Path
) -> None:
    """Where real pictures have no variety, nothing is divided by it; JSON knows no NaN."""
    for i in range(12):
        paint(tmp_path / "set" / "train" / f"{i}.png", i)
    for name in ("a", "b"):
        paint(tmp_path / "set" / "test" / f"{name}.png", 20)
    told = cli("evaluate", recover_run, tmp_path / "set", f"--out={tmp_path / 'report'}")
    assert told.status == 0, told.err
    scores = json.loads((tmp_path / "report" / "scores.json").read_text(), parse_constant=pytest.fail)
    assert "diversity" not in scores["rows"]["refined"] and "PSNR" in scores["rows"]["refined"]
    (tmp_path / "set" / "test" / "b.png").unlink()
    told = cli("evaluate", recover_run, tmp_path / "set", f"--out={tmp_path / 'one'}")
    assert told.status == 1 and "1 held-out picture; measuring takes two or more" in told.err


def test_runs_on_pictures_that_do_not_suit_them_leave_nothing_behind(
    cli: Cli, recover_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(recover_run, tmp_path / "again")
    config = tmp_path / "again" / "model" / "config.json"
    config.write_text(config.read_text().replace('"seed": 0', '"seed": 1'))
    for i in range(3):
        paint(tmp_path / "few" / f"{i}.png", i)
    out = tmp_path / "both"
    told = cli("compare", recover_run, tmp_path / "again", "--data", tmp_path / "few", f"--out={out}")
    assert told.status == 1 and "1 held-out picture; measuring takes two or more" in told.err
    assert not out.exists()
