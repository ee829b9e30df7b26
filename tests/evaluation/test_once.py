"""What depends on an example alone is computed once, and is what it would be without that."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from redraft.evaluation import once
from redraft.evaluation.once import Once, OnceSeen


def pictures(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Counted:
    """Sums of a picture's columns; counts what it looks at."""

    name = "sums of columns"

    def __init__(self) -> None:
        self.looked = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.looked += len(x)
        return x.sum((1, 2))


def test_each_row_is_seen_once_in_any_order_and_company() -> None:
    plain, counted = Counted(), Counted()
    seen, x = Once(counted), pictures(10)
    for part in (x[:4], x.flip(0), x[3:4].expand(5, -1, -1, -1), torch.cat([x[2:3], pictures(2, seed=1)])):
        assert torch.equal(seen(part), plain(part))
    assert counted.looked == 12


def test_rows_of_other_form_are_others() -> None:
    seen = Once(lambda x: x.flatten(1).float().mean(1))
    zeros = torch.zeros(1, 1, 4)
    assert seen(zeros).item() == seen(zeros.int()).item() == seen(zeros.view(1, 4, 1)).item() == 0
    assert len(seen.rows) == 3


def test_those_asked_for_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "MOST", 4)
    counted, x = Counted(), pictures(6)
    seen = Once(counted)
    seen(x[:4])
    seen(x[:1])
    seen(x[4:])  # 1 and 2 are forgotten
    assert counted.looked == 6
    seen(x[[0, 3, 4, 5]])
    assert counted.looked == 6
    assert torch.equal(seen(x), Counted()(x)) and counted.looked == 8


def test_real_pictures_are_looked_at_once_for_all_runs(tmp_path: Path) -> None:
    x = pictures(9)
    first, second = Counted(), Counted()
    OnceSeen(first).keep(x, tmp_path)
    again = OnceSeen(second)
    again.keep(x, tmp_path)
    assert second.looked == 1  # to know how many numbers there are
    assert torch.equal(again(x.flip(0)), Counted()(x.flip(0))) and second.looked == 1
    again.keep(pictures(9, seed=1), tmp_path)
    assert second.looked == 1 + 1 + 9
    (tmp_path / sorted(f.name for f in tmp_path.iterdir())[0]).write_bytes(b"damaged")
    OnceSeen(Counted()).keep(x, tmp_path)
    assert torch.equal(OnceSeen(Counted())(x), Counted()(x))
