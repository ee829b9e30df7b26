"""A command line in this process, and a small trained model for all tests of the use cases."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fusing import SIZE, SMALL, captioned
from painting import Cli, Said, paint
from toys import IMAGE, TEXT, Cells, Letters, at_hand

from redraft.cli.main import main


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run ``redraft`` with these words; its exit status and what it wrote."""

    def run(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["redraft", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        out, err = capsys.readouterr()
        return Said(status, out, err)

    return run


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    """The tests' own cache of decoded pictures."""
    patch = pytest.MonkeyPatch()
    patch.setenv("REDRAFT_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures in two class folders."""
    root = tmp_path_factory.mktemp("discs")
    for i in range(40):
        paint(root / ("ball" if i % 2 else "dot") / f"{i:02d}.png", i)
    return root


@pytest.fixture(scope="session")
def recover_run(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps on ``recover``, with its model."""
    from redraft.app.train import train

    out = tmp_path_factory.mktemp("runs") / "recover"
    tiny = [
        "networks.solver_width=8",
        "networks.initializer_width=8",
        "train.batch=4",
        "method.langevin.steps=2",
    ]
    return train(str(discs), task="recover", size=32, steps=4, out=str(out), device="cpu", settings=tiny)


# --- fusions


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captioned(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("classes")
    for i in range(48):
        paint(root / ("ball", "dot")[i % 2] / f"{i:02d}.png", i, SIZE)
    return root


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Cells:
    from redraft.app import captions

    cells = Cells()
    at_hand(monkeypatch, Letters(), cells)
    monkeypatch.setattr(captions, "_usual", lambda: None)  # an extra, and slow to read
    return cells


def fused(data: Path, out: Path, given: str | None, steps: int) -> Path:
    """A small fusion of a folder's conditions and pictures."""
    from redraft.app.fuse import fuse

    settings = [line.removeprefix("--set=") for line in SMALL if line.startswith("--set=")]
    more = {"size": SIZE, "steps": steps, "out": str(out), "device": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        at_hand(patch, Letters(), Cells())
        return fuse(str(data), given=given, wanted=IMAGE, settings=settings, **more)


@pytest.fixture(scope="module")
def text_run(words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fusion of words and pictures."""
    return fused(words, tmp_path_factory.mktemp("fused") / "text", TEXT, steps=4)


@pytest.fixture(scope="module")
def class_run(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fusion of categories and pictures."""
    return fused(classes, tmp_path_factory.mktemp("fused") / "class", None, steps=40)
