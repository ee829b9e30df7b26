"""What ``evaluate`` is asked for beside the usual, and what it says where there is little to measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from painting import Cli


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
