"""Two processes under torchrun make, from one folder, what one process makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TINY = (
    "networks.solver_width=8",
    "networks.initializer_width=8",
    "train.batch=4",
    "method.langevin.steps=2",
)


def two(*words: object) -> subprocess.CompletedProcess[str]:
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *torchrun, "-m", "redraft.cli.main", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )


@pytest.mark.skipif(not torch.distributed.is_available(), reason="PyTorch without torch.distributed")
def test_two_processes_train_generate_and_evaluate(discs: Path, tmp_path: Path) -> None:
    from redraft.app.generate import generate

    run, common = tmp_path / "run", ("--device", "cpu")
    settings = [word for line in TINY for word in ("--set", line)]
    few = ("--task", "recover", "--size", 32, "--steps", 4)
    said = two("train", discs, *few, "--out", run, *common, *settings)
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("Done:") == 1

    said = two("generate", run, discs / "ball", "--variants", 2, "--out", tmp_path / "two", *common)
    assert said.returncode == 0, said.stderr
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = generate(str(run), [str(discs / "ball")], variants=2, out=str(tmp_path / "one"), device="cpu")
    finally:
        torch.set_num_threads(threads)
    assert len(alone) == len(list((tmp_path / "two").iterdir())) == 40
    for file in alone:
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()

    said = two("evaluate", run, discs, "--out", tmp_path / "report", *common)
    assert said.returncode == 0, said.stderr
    assert "refined" in json.loads((tmp_path / "report" / "scores.json").read_text())["rows"]

    said = two("generate", run, discs / "ball", "--out", tmp_path / "two", *common)
    assert said.returncode != 0 and said.stderr.count("redraft: ") == 1
