"""What a run leaves behind and tells, and where it runs."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
import yaml
from runs import metrics, once, settings, weights
from torch import Tensor, nn

from redraft.core.errors import UsageError
from redraft.core.types import Pair
from redraft.training import Progress, pick_device, train, trainer
from redraft.training.ahead import Ahead
from redraft.training.device import pick_precision
from redraft.training.journal import Journal


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    config = {"method": {"name": "ccoopnets"}, "train": {"steps": 60}}
    once(tmp_path / "run", settings(), config=config)
    out = tmp_path / "run"
    assert yaml.safe_load((out / "run.yaml").read_text()) == config
    environment = json.loads((out / "environment.json").read_text())
    assert environment["torch"] == torch.__version__ and environment["device"] == "cpu"
    rows = metrics(out)
    assert [int(r["step"]) for r in rows] == list(range(1, 61))
    wanted = {"energy_data", "energy_draft", "energy_refined", "move", "gradient_solver", "lr_initializer"}
    assert wanted <= rows[0].keys()
    assert all(r["energy_data"] for r in rows)
    assert [s["step"] for s in rows if s["drafts_spread"]] == ["10", "20", "50"]


def test_training_leaves_global_randomness_alone_and_ends_with_the_averages(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    method, outcome = once(tmp_path / "run", settings())
    assert torch.equal(before, torch.get_rng_state())
    assert not method.initializer.training
    state = torch.load(next((tmp_path / "run" / "checkpoints").glob("step_00000060*")), weights_only=True)
    for key, value in state["update"]["averages"]["initializer"].items():
        assert torch.equal(method.initializer.state_dict()[key], value)
        assert not torch.equal(state["method"][f"initializer.{key}"], value)
    assert torch.equal(method.solver.score.weight, state["method"]["solver.score.weight"])  # ema 0
    assert 0 <= outcome.waiting < 1 and outcome.steps == 60


def test_it_learns(tmp_path: Path) -> None:
    """The drafts of a category come to show its bar, brighter than the other rows."""
    method = tiny.method(1)
    rates = {"solver": 5e-3, "initializer": 1e-2}
    train(method, tiny.batch_at, settings(steps=600, lr=rates), tmp_path / "run")
    rows = tiny.drafts(method).mean((1, 3))  # [24, 8]
    best = rows.argmax(1)
    assert (best == 2 * (torch.arange(24) % 3) + 1).float().mean() > 0.9


def test_pictures_are_drawn_early_from_the_averages_and_do_not_change_the_run(tmp_path: Path) -> None:
    modes: list[bool] = []

    def draw(method: nn.Module) -> Tensor:
        modes.append(method.training or method.initializer.training)  # type: ignore[union-attr]
        return torch.zeros(3, 4, 6)

    drawn, _ = once(tmp_path / "a", settings(), draw=draw)
    plain, _ = once(tmp_path / "b", settings())
    names = sorted(p.name for p in (tmp_path / "a" / "samples").iterdir())
    assert names == [f"step_{t:08d}.png" for t in (10, 20, 50, 60)]
    assert torch.equal(weights(drawn), weights(plain))


def test_progress(tmp_path: Path) -> None:
    seen: list[Progress] = []
    once(tmp_path / "run", settings(), report=seen.append)
    assert [p.step for p in seen] == list(range(1, 61)) and seen[-1].done == 1 and seen[-1].total == 60
    assert seen[29].eta == pytest.approx(seen[29].seconds, rel=0.01)
    assert {"energy_data", "move", "gradient_solver", "wait"} <= seen[-1].values.keys()
    assert all(p.event is None for p in seen)


def test_the_next_batch_is_made_while_the_step_runs() -> None:
    main = threading.get_ident()
    made: list[int] = []

    def batch_at(t: int) -> Pair:
        assert threading.get_ident() != main
        time.sleep(0.1)
        made.append(t)
        return Pair(None, torch.full((1,), float(t)))

    ahead = Ahead(batch_at, torch.device("cpu"))
    waits = []
    for t in (0, 1, 2, 1, 2):  # goes back once
        assert ahead.get(t).target.item() == t
        waits.append(ahead.waited)
        time.sleep(0.25)
    ahead.close()
    assert waits[0] > 0.09 and max(waits[1], waits[2], waits[4]) < 0.09
    assert made[:3] == [0, 1, 2]


def test_an_error_of_the_data_reaches_the_caller(tmp_path: Path) -> None:
    def broken(t: int) -> Pair:
        if t == 5:
            raise OSError("gone")
        return tiny.batch_at(t)

    with pytest.raises(OSError, match="gone"):
        once(tmp_path / "run", settings(), batch_at=broken)


def test_the_journal_is_cut_even_in_the_middle_of_a_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.rows([{"step": t, "loss": t / 3, "spread": None} for t in range(1, 6)])
    with journal.path.open("a") as file:
        file.write("6,2.0")
    again = Journal(tmp_path)
    again.cut(3)
    again.rows([{"step": 4, "loss": 1.0, "spread": 0.5}])
    assert journal.path.read_text() == ("step,loss,spread\n1,0.333333333,\n2,0.666666667,\n3,1,\n4,1,0.5\n")


def test_tensorboard_events_where_the_package_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path / "tensorboard")

        def add_scalar(self, *args: object) -> None:
            written.append(args)

        def close(self) -> None:
            written.append(("closed",))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    journal = Journal(tmp_path)
    journal.rows([{"step": 3, "loss": 0.5, "spread": None}])
    journal.close()
    assert written == [("loss", 0.5, 3), ("closed",)]


def test_devices_and_precisions() -> None:
    cpu = torch.device("cpu")
    assert pick_device("cpu") == cpu
    assert pick_precision("auto", cpu) == pick_precision("float32", cpu) == torch.float32
    for half in ("bf16", "fp16"):
        with pytest.raises(UsageError, match="14 to 76 times slower on CPUs"):
            pick_precision(half, cpu)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no device 'gpu'"):
        pick_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_no_cuda_here() -> None:
    assert pick_device().type in ("cpu", "mps")
    with pytest.raises(UsageError, match="--device cpu"):
        pick_device("cuda")


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_stays_inside_the_networks(
    tmp_path: Path, half: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, which is slow at it but does it: nearly the float32 run, with float32 all around."""
    single, _ = once(tmp_path / "a", settings(steps=30))
    monkeypatch.setattr(trainer, "pick_precision", lambda wanted, device: half)
    method = tiny.method()
    inside: list[torch.dtype] = []
    chained: list[torch.dtype] = []
    method.solver.look.register_forward_hook(lambda net, args, out: inside.append(out.dtype))
    method.keep = lambda x, c: chained.append(x.dtype) or x
    train(method, tiny.batch_at, settings(steps=30), tmp_path / "b", seed=3)
    assert set(inside) == {half} and set(chained) == {torch.float32}
    assert {v.dtype for v in method.state_dict().values()} == {torch.float32}
    assert 0 < (weights(single) - weights(method)).abs().max() < 0.05
    with torch.no_grad():
        assert method.solver.look(torch.zeros(1, 1, 8, 8)).dtype == torch.float32  # it is over afterwards


def test_where_the_compiler_fails_training_goes_on_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights as a run without compile: the failed step is undone."""
    from torch._dynamo.exc import TorchDynamoException

    def failing(self: nn.Module) -> None:
        calls = [0]

        def call(*args: object, **more: object) -> object:
            calls[0] += 1
            if calls[0] == 5:  # in the second network, or after the first update
                raise TorchDynamoException("no compiler here")
            return self._call_impl(*args, **more)

        self._compiled_call_impl = call

    plain, _ = once(tmp_path / "a", settings())
    monkeypatch.setattr(nn.Module, "compile", failing)
    method, outcome = once(tmp_path / "b", settings(compile=True))
    assert len(outcome.events) == 1 and "going on without it" in outcome.events[0]
    assert torch.equal(weights(plain), weights(method))
