"""Train on a folder of pictures: from what the folder is to a model that can be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redraft.app.check import open_folder, suited
from redraft.app.examples import batches, gathered, pairs, store
from redraft.app.model import Model
from redraft.app.progress import Teller
from redraft.app.show import say
from redraft.core import images
from redraft.core.errors import DataError, UsageError, unknown
from redraft.core.rng import PictureNoise
from redraft.core.types import Pair
from redraft.data import Folder, Report, Store
from redraft.data.check import check
from redraft.evaluation.calibration import Calibration
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopnets import CoopNets
from redraft.methods.method import Method
from redraft.nets.blocks import parameters
from redraft.recipes import RECIPES, Run, build
from redraft.recipes.matrix import method_for
from redraft.tasks import TASKS
from redraft.training import pick_device
from redraft.training import train as fit
from redraft.training.processes import barrier, processes, rank

SIZES = "28, or a multiple of 16 from 16 to 1024"
VECTORS = ("none", "category")  # tasks whose networks take 28 px
STYLED = 2000  # training pairs that the style is fitted to
HELD_OUT = 512  # real pairs whose energies are kept for the score


def train(
    data: str,
    *,
    task: str | None = None,
    method: str | None = None,
    recipe: str = "modern",
    size: int | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    out: str | None = None,
    seed: int = 0,
    resume: bool = False,
    direction: str | None = None,
    device: str = "auto",
    settings: Iterable[str] = (),
) -> Path:
    """Train and return the run's folder. What is not given is chosen from the folder, and said."""
    where = pick_device(device)
    with processes(where):
        folder = open_folder(data, direction)
        report = check(folder)
        _refuse(report)
        run = plan(report, task, method, recipe, size, seed)
        run = run.override([*_length(steps, minutes), *settings])
        place = Path(out or f"runs/{Path(data).name}-{run.task_name}-{run.method_name}")
        return fit_run(folder, run, place, where, resume=resume)


def plan(
    report: Report, task: str | None, method: str | None, recipe: str, size: int | None, seed: int
) -> Run:
    """The run that suits the folder, with what the user wishes."""
    folder = report.folder
    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES)
    name = suited(folder, task)
    method = method_for(name, method)
    made = TASKS[name].of(folder, _size(report, name, size))
    return RECIPES[recipe](made, method, len(folder.examples["train"]), seed)


def fit_run(folder: Folder, run: Run, out: Path, device: torch.device, *, resume: bool = False) -> Path:
    """Train a run on a folder, then write the model with its calibration into ``out``/model."""
    say(folder.understood)
    training = store(folder, "train", run, margin=True)
    held_out = store(folder, "test", run)
    _tell_skipped(training, held_out)
    method = build(run).to(device)
    counts = ", ".join(f"{name} {parameters(net):,}" for name, net in method.networks.items())
    say(
        f"Task {run.task_name}, method {run.method_name} ({run.recipe}), {run.task.spec.size} px, "
        f"{len(training)} pictures to train on and {len(held_out)} held out; parameters: {counts}. Run: {out}"
    )
    _fit_style(method, training, run, device)
    few = gathered(pairs(held_out, run.task, device, run.seed, most=8))
    with Teller() as tell:
        outcome = fit(
            method,
            batches(training, run, device),
            run.train,
            out,
            seed=run.seed,
            resume=resume,
            config=run.to_dict(),
            draw=_drawer(run, few, device),
            report=tell,
        )
    if rank() == 0:
        known = gathered(pairs(training, run.task, device, run.seed, most=20_000))
        real = gathered(pairs(held_out, run.task, device, run.seed, most=HELD_OUT))
        energies = torch.cat([method.energy(x.to(device), _to(c, device)).cpu() for c, x in _chunks(real)])
        about = {
            "steps": outcome.steps,
            "seconds": round(outcome.seconds, 1),
            "waiting": round(outcome.waiting, 4),
            "pictures": len(training),
            "data": folder.understood,
        }
        model = Model(
            run, method, Calibration.of(energies, known.condition, real.condition), about=about, device=device
        )
        model.save_pretrained(out / "model", card(run, about), replace=True)
        say(f"Done: {outcome.steps} steps in {outcome.seconds / 60:.1f} minutes. Model: {out / 'model'}")
    barrier()
    return out


def _tell_skipped(*stores: Store) -> None:
    skipped = [sentence for store in stores for sentence in store.skipped]
    for sentence in skipped[:5]:
        say(f"Left out: {sentence}")
    if len(skipped) > 5:
        say(f"... and {len(skipped) - 5} more; see: redraft data check")


def _fit_style(method: CoopNets | CCoopNets, training: Store, run: Run, device: torch.device) -> None:
    """The style is closed form, a function of the training pictures alone; a resumed run finds the same."""
    if isinstance(method, CCoopNets) and method.style is not None:
        known = gathered(pairs(training, run.task, device, run.seed, most=STYLED))
        assert known.condition is not None
        said = method.style.fit(known.target.to(device), known.condition.to(device))
        say(f"Conditions explain {max(said, 0):.0%} of the pictures' colour and light; z chooses the rest.")


def card(run: Run, about: dict[str, object]) -> str:
    """The model's README: what it is, how it was made, how to use it."""
    steps = run.method.langevin.steps
    return (
        f"# Redraft model: {run.task_name}\n\n"
        f"Method {run.method_name}, recipe {run.recipe}, {run.task.spec.size} px, trained "
        f"{about['steps']} steps ({about['seconds']} s) on {about['pictures']} pictures. {about['data']}\n\n"
        "```\nredraft generate THIS_FOLDER [CONDITION ...] --out NEW_FOLDER\n```\n"
        "```python\nimport redraft\nmodel = redraft.Model.from_pretrained('THIS_FOLDER')\n"
        f"made = model(..., variants=4, refine={steps}, seed=0)\n"
        "made.images, made.drafts, made.percentiles\n```\n\n"
        "The pictures that it was trained on may have terms of their own; they hold for what it makes.\n"
    )


def _drawer(run: Run, few: Pair, device: torch.device) -> Callable[[Any], Tensor]:
    """The sample grid: condition, draft, refined, truth, always of the same held-out pictures."""

    def draw(method: Method) -> Tensor:
        n = len(few.target) if few.condition is not None else 8
        made = method.generate(_to(few.condition, device), n, PictureNoise(run.seed, range(n), device))
        rows = [made.drafts.cpu().clamp(-1, 1), made.images.cpu().clamp(-1, 1), few.target]
        shown = run.task.show(few.condition, n)
        return images.grid(rows if shown is None else [shown, *rows], scale=2)

    return draw


def _size(report: Report, task: str, wanted: int | None) -> int:
    """The wanted size if networks can have it; else the usual picture's, between 28 and 64 px."""
    if wanted is None:
        usual = max(report.sizes, key=lambda size: report.sizes[size], default=(64, 64))
        if min(usual) >= 64:
            return 64
        return 28 if min(usual) < 32 and task in VECTORS else 32
    if wanted != 28 and (wanted % 16 or not 16 <= wanted <= 1024):
        raise UsageError(f"--size is {SIZES}, not {wanted}.")
    if wanted == 28 and task not in VECTORS:
        raise UsageError(f"--size 28 is for tasks {' and '.join(VECTORS)}; use 32 for {task}.")
    return wanted


def _length(steps: int | None, minutes: float | None) -> list[str]:
    if steps is not None and minutes is not None:
        raise UsageError("Give --steps or --minutes, not both.")
    if steps is not None:
        if steps < 1:
            raise UsageError(f"--steps counts training steps, so it is at least 1, not {steps}.")
        return [f"train.steps={steps}"]
    if minutes is not None:
        if minutes <= 0:
            raise UsageError(f"--minutes must be more than 0, not {minutes}.")
        return [f"train.minutes={minutes}"]
    return ["train.minutes=10"]


def _refuse(report: Report) -> None:
    if report.fatal:
        worst = next(f.sentence for f in report.findings if f.severity == "error")
        raise DataError(f"{worst} (See: redraft data check)")


def _chunks(real: Pair, n: int = 64) -> Iterable[Pair]:
    for i in range(0, len(real.target), n):
        yield Pair(None if real.condition is None else real.condition[i : i + n], real.target[i : i + n])


def _to(c: Tensor | None, device: torch.device) -> Tensor | None:
    return None if c is None else c.to(device)
