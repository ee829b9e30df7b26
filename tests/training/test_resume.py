"""A run that is killed at any moment and resumed ends bit for bit like one that was not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from runs import dies_at, killed, metrics, once, settings, suicide, weights

from redraft.core.errors import CheckpointError, Interrupted, UsageError
from redraft.core.types import Pair
from redraft.training import Progress, checkpoint, folder, train


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.Tensor, Path]:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    method, outcome = once(out, settings())
    assert outcome.steps == 60
    return weights(method), out


def finish(out: Path, unbroken: tuple[torch.Tensor, Path]) -> list[str]:
    """Resume to the end, compare with the unbroken run; returns what was told."""
    method, outcome = once(out, settings(), resume=True)
    assert torch.equal(weights(method), unbroken[0])
    assert metrics(out) == metrics(unbroken[1])
    return list(outcome.events)


@pytest.mark.parametrize("steps", [(2,), (31,), (19, 20, 47), (59,)])
def test_killed_in_steps(tmp_path: Path, unbroken: tuple[torch.Tensor, Path], steps: tuple[int, ...]) -> None:
    out = tmp_path / "run"
    for i, step in enumerate(steps):
        assert killed(lambda i=i, step=step: once(out, settings(), resume=i > 0, batch_at=dies_at(step)))
    finish(out, unbroken)


@pytest.mark.parametrize("writes", [1, 20, 40])
def test_killed_while_a_checkpoint_is_written(
    tmp_path: Path, unbroken: tuple[torch.Tensor, Path], writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third checkpoint (step 40) is torn at its beginning, in its middle and near its end."""
    out, count = tmp_path / "run", [0, 0]
    write, save = checkpoint._Hashing.write, checkpoint.write

    def counting(folder: Path, state: dict, step: int) -> Path:
        count[:] = [step, 0]
        return save(folder, state, step)

    def torn(self: checkpoint._Hashing, data: bytes) -> int:
        count[1] += 1
        if count == [40, writes]:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            suicide()
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", counting)
        patch.setattr(checkpoint._Hashing, "write", torn)
        assert killed(lambda: once(out, settings()))
    assert [s.step for s in checkpoint.saved(out / "checkpoints")] == [20, 0]
    finish(out, unbroken)


@pytest.mark.parametrize("moment", ["rename", "prune"])
def test_killed_around_the_rename(
    tmp_path: Path, unbroken: tuple[torch.Tensor, Path], moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    place = (Path, "rename") if moment == "rename" else (checkpoint, "prune")
    before, calls = getattr(*place), [0]

    def third(*args: object) -> object:
        calls[0] += 1
        if calls[0] == 3:
            suicide()
        return before(*args)

    with monkeypatch.context() as patch:
        patch.setattr(*place, third)
        assert killed(lambda: once(out, settings()))
    finish(out, unbroken)


def test_killed_before_the_first_checkpoint(
    tmp_path: Path, unbroken: tuple[torch.Tensor, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", lambda *args: suicide())
        assert killed(lambda: once(tmp_path / "run", settings()))
    assert any("begins anew" in e for e in finish(tmp_path / "run", unbroken))


@pytest.mark.parametrize("harm", ["truncated", "flipped"])
def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_it_used(
    tmp_path: Path, unbroken: tuple[torch.Tensor, Path], harm: str
) -> None:
    out = tmp_path / "run"
    assert killed(lambda: once(out, settings(), batch_at=dies_at(50)))
    newest = checkpoint.saved(out / "checkpoints")[0]
    assert newest.step == 40
    data = bytearray(newest.path.read_bytes())
    data[len(data) // 2] ^= 1
    newest.path.write_bytes(data if harm == "flipped" else data[: len(data) // 2])
    events = finish(out, unbroken)
    assert newest.path.name in events[0] and "damaged" in events[0]
    assert "step 20" in events[1]


def test_all_checkpoints_damaged(tmp_path: Path) -> None:
    once(tmp_path / "run", settings(steps=3))
    for s in checkpoint.saved(tmp_path / "run" / "checkpoints"):
        s.path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="all are damaged"):
        once(tmp_path / "run", settings(steps=3), resume=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_saves_and_says_how_to_go_on(
    tmp_path: Path, unbroken: tuple[torch.Tensor, Path], number: signal.Signals
) -> None:
    out, handler = tmp_path / "run", signal.getsignal(number)

    def stop(progress: Progress) -> None:
        if progress.step == 33:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match="step 3[34] of 60.*--resume"):
        once(out, settings(), report=stop)
    assert signal.getsignal(number) is handler
    finish(out, unbroken)


def test_accumulated_runs_resume_too(tmp_path: Path) -> None:
    cfg = settings(steps=30, accumulate=2)
    whole, _ = once(tmp_path / "a", cfg)
    assert killed(lambda: once(tmp_path / "b", cfg, batch_at=dies_at(27)))
    resumed, _ = once(tmp_path / "b", cfg, resume=True)
    assert torch.equal(weights(whole), weights(resumed))


def test_the_pool_of_persistent_chains_travels_with_the_checkpoint(tmp_path: Path) -> None:
    cfg = settings(steps=30)

    def run(name: str, batch_at: Callable[[int], Pair] = tiny.batch_at, resume: bool = False) -> torch.Tensor:
        method = tiny.method(pool=32, persistent=0.9)
        train(method, batch_at, cfg, tmp_path / name, resume=resume)
        assert int(method.pool.written) == 8 * 30
        return weights(method)

    whole = run("a")
    assert killed(lambda: run("b", dies_at(25)))
    assert torch.equal(whole, run("b", resume=True))


def test_a_finished_run_resumes_to_the_same_and_may_go_on_longer(
    tmp_path: Path, unbroken: tuple[torch.Tensor, Path]
) -> None:
    out = tmp_path / "run"
    once(out, settings())
    finish(out, unbroken)
    _, outcome = once(out, settings(steps=70), resume=True)
    assert outcome.steps == 70 and len(metrics(out)) == 70
    with pytest.raises(UsageError, match="already at step 70"):
        once(out, settings(steps=60), resume=True)


def test_by_the_clock_the_length_is_fixed_at_half_time(tmp_path: Path) -> None:
    cfg = settings(steps=None, minutes=0.02, checkpoint_every=1000)
    _, outcome = once(tmp_path / "run", cfg)
    assert outcome.seconds < 3  # 1.15 * 1.2 and a step, which a busy machine may hold up
    last, first, *_ = checkpoint.saved(tmp_path / "run" / "checkpoints")
    assert outcome.steps == last.step
    assert last.step <= 2 * first.step  # saved at the half, when the total was fixed
    rates = [float(r["lr_solver"]) for r in metrics(tmp_path / "run")]
    assert max(rates) == rates[first.step - 1] == pytest.approx(1e-3)
    if last.step == 2 * first.step:  # not cut short by a busy machine
        assert rates[-1] < 0.2e-3


@pytest.mark.parametrize(
    "change, words",
    [({"lr": {"solver": 1.0, "initializer": 2e-3}}, "train.lr.solver"), ({"batch": 4}, "train.batch")],
)
def test_another_run_is_not_resumed(tmp_path: Path, change: dict, words: str) -> None:
    once(tmp_path / "run", settings(steps=3))
    with pytest.raises(CheckpointError, match=words):
        once(tmp_path / "run", settings(steps=3, **change), resume=True)


def test_folders_in_use_and_folders_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run to go on with"):
        once(tmp_path / "none", settings(), resume=True)
    once(tmp_path / "run", settings(steps=3))
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match="already holds a run .step 3.*--resume"):
        once(tmp_path / "run", settings(steps=3))
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        once(tmp_path / "file", settings(steps=3))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="cannot be used .Not a directory.; choose another"):
        once(tmp_path / "file" / "run", settings(steps=3))


@pytest.mark.parametrize("text", [None, "{", "just words"])
def test_settings_that_cannot_be_read_are_left_to_the_checkpoints(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "run.yaml").write_text(text)
    folder.refuse_another_run(tmp_path, {"seed": 1})
    (tmp_path / "run.yaml").write_text("seed: 2\n")
    with pytest.raises(CheckpointError, match="seed = 2, not 1"):
        folder.refuse_another_run(tmp_path, {"seed": 1})
