"""Numbers that no training can go on with are refused before it begins."""

from __future__ import annotations

import math
from typing import Any

import pytest

from redraft.core.errors import UsageError
from redraft.training.settings import Train


@pytest.mark.parametrize(
    "setting",
    [
        {"lr": {"solver": math.inf}},
        {"lr": {"solver": math.nan}},
        {"betas": {"solver": (1.0, 0.9)}},
        {"betas": {"solver": (math.nan, 0.9)}},
        {"clip": {"solver": -1.0}},
        {"clip": {"solver": math.nan}},
        {"energy_limit": -5.0},
        {"energy_limit": math.nan},
    ],
)
def test_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"train.{next(iter(setting))}"):
        Train(**setting)
