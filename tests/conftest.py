"""What all tests share: one torch thread, and where the real data lie when they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_chance() -> None:
    """Weights that a test leaves to chance are the same in every run."""
    torch.manual_seed(0)


def shared_data(*parts: str) -> Path:
    """A folder or file of the real data beside the checkout; skips the test where there is none."""
    root = Path(os.environ.get("REDRAFT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    path = root.joinpath("data", *parts)
    if not path.exists():
        pytest.skip(f"needs the real data {'/'.join(parts)} (set REDRAFT_SHARED to their folder)")
    return path
