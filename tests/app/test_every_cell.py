"""Every cell of method x task that is marked: a folder of pictures goes in, pictures come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from painting import paint
from PIL import Image

import redraft
from redraft.app import experts
from redraft.app.bridges import ends
from redraft.app.train import train
from redraft.core.rng import stream
from redraft.nets.experts import BlackBox
from redraft.recipes import RECIPES, build
from redraft.recipes.ends import Ends
from redraft.recipes.matrix import matrix, method_for
from redraft.recipes.run import Run
from redraft.tasks import TASKS

CELLS = [(m, t) for m, row in matrix().items() for t, reason in row.items() if reason is None]
TINY = ["networks.solver_width=4", "networks.initializer_width=4", "train.batch=2"]
CHAIN = ["method.langevin.steps=1"]
OF = {
    "fusion": ["networks.flow.blocks=2", "networks.flow.width=8"],
    "diffusion": ["networks.denoiser.channels=[16]", "method.steps=3", "method.draft_steps=2"],
    "piti": [
        "networks.encoder.width=8",
        "networks.encoder.heads=2",
        "method.steps=3",
        "method.draft_steps=2",
    ],
    "autoencoder": ["networks.autoencoder.width=4"],
    "coopinit": ["coopinit.share=0.5", *CHAIN],
}
SIZE = 16


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small folder for each kind of data."""
    root = tmp_path_factory.mktemp("kinds")
    for i in range(6):
        paint(root / "alone" / f"{i}.png", i, SIZE)
        paint(root / "classes" / ("ball", "dot")[i % 2] / f"{i}.png", i, SIZE)
        paint(root / "pairs" / "trainA" / f"{i}.png", i, SIZE)
        paint(root / "pairs" / "trainB" / f"{i}.png", i + 50, SIZE)
        paint(root / "sides" / "trainA" / f"horse{i}.png", i, SIZE)
        paint(root / "sides" / "trainB" / f"zebra{i}.png", i + 90, SIZE)
        paint(root / "labels" / "photos" / f"{i}.png", i, SIZE)
        said = torch.randint(3, (SIZE, SIZE), generator=stream(i, "labels")).numpy().astype("uint8")
        picture = Image.fromarray(said, "P")
        picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        (root / "labels" / "labels").mkdir(parents=True, exist_ok=True)
        picture.save(root / "labels" / "labels" / f"{i}.png")
    kinds = {
        "category": "classes",
        "text": "classes",
        "labels": "labels",
        "pairs": "pairs",
        "unpaired": "sides",
    }
    return {task: root / kinds.get(task, "alone") for task in TASKS}


TOY = "text:toy"


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expert of words that is here on every machine: how often each letter stands in them."""
    counts = lambda words: torch.tensor([[w.count(chr(97 + k)) for k in range(26)] for w in words]).float()  # noqa: E731
    expert = BlackBox(counts, name=TOY, kind="text", shape=(26,), meaning="letters", licence="ours")
    load = experts.load
    monkeypatch.setattr(experts, "load", lambda name: expert if name == TOY else load(name))


def given(task: str, folder: Path) -> str | None:
    """A condition of the task."""
    if task in ("none", "category", "text"):
        return None if task == "none" else "ball"
    inside = {"labels": "labels", "pairs": "trainA", "unpaired": "trainA"}.get(task, "")
    return str(sorted((folder / inside).glob("*.png"))[0])


def generator(task: str, run: Run, out: Path) -> Path:
    """A model of another method whose generator ``solver`` refines: fresh weights will do."""
    method = method_for(
        task, {"none": "gan", "category": "gan", "text": "gan", "unpaired": "cut"}.get(task, "pix2pix")
    )
    ends = Ends(condition=run.condition, target=run.target)
    return saved(RECIPES["modern"](run.task, method, 6, 0, ends).override(TINY), out)


def prior(out: Path) -> Path:
    """A diffusion model of colour pictures alone."""
    run = RECIPES["modern"](TASKS["none"](size=SIZE, channels=3), "diffusion", 6)  # type: ignore[call-arg]
    return saved(run.override(OF["diffusion"]), out)


def saved(run: Run, out: Path) -> Path:
    from redraft.app.model import Model
    from redraft.evaluation.calibration import Calibration

    nothing = Calibration.of(torch.zeros(4), None, None)
    Model(run, build(run), nothing).save_pretrained(out, "fresh weights")
    return out


@pytest.mark.parametrize(("method", "task"), CELLS, ids=lambda word: word)
def test_a_marked_cell_trains_and_makes_pictures(
    method: str, task: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder, more = folders[task], {}
    settings = [f"condition.expert={TOY}"] if task == "text" else []
    if method == "solver":
        from redraft.app.check import open_folder

        of = TASKS[task].of(open_folder(str(folder)), SIZE)
        made_for = RECIPES["modern"](of, "coopinit", 6, 0, ends(of, method, settings))
        more["initializer"] = str(generator(task, made_for, tmp_path / "theirs"))
    if method == "piti":
        more["prior"] = str(prior(tmp_path / "theirs"))
    own = [] if method == "solver" else settings  # a solver has its initializer's experts
    run = train(
        str(folder),
        task=task,
        method=method,
        size=SIZE,
        steps=2,
        out=str(tmp_path / "run"),
        device="cpu",
        settings=[*TINY, *OF.get(method, CHAIN), *own],
        **more,
    )
    model = redraft.Model.from_pretrained(run, device="cpu")
    solved = model.run.solver_steps > 0
    made = model(given(task, folder), variants=2, refine=1 if solved else None)
    assert made.images.shape[0] == 2 and made.images.shape[-1] == SIZE
    assert made.images.isfinite().all() and made.images.abs().max() <= 1
    assert made.energies.isfinite().all() and solved != torch.equal(made.images, made.drafts)
    assert np.isfinite(made.percentiles.numpy()).all()
