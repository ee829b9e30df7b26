"""Train on a folder of pictures: from what the folder is to a model that can be used."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redraft.app import foreign
from redraft.app.begin import begin, pictures_key, seen
from redraft.app.bridges import COPIES, Viewed, bridge, ends, is_end, keep, kept_scales
from redraft.app.check import instead, open_folder, suited
from redraft.app.drawn import drawn, energies
from redraft.app.examples import batches, gathered, pairs, spread_out, store
from redraft.app.language import unknown_words
from redraft.app.latent import ceiling
from redraft.app.model import Model
from redraft.app.progress import Teller
from redraft.app.refuse import (
    VECTORS,
    fitting_batch,
    refuse_empty,
    refuse_experts,
    refuse_file,
    refuse_length,
    refuse_run,
    refuse_seed,
    refuse_settings,
    refuse_size,
)
from redraft.app.show import say
from redraft.core import images
from redraft.core.errors import DataError, UsageError, unknown
from redraft.core.rng import PictureNoise
from redraft.core.types import Pair
from redraft.data import Folder, Report, Store, embedded_names
from redraft.data.check import check
from redraft.evaluation.calibration import Calibration
from redraft.evaluation.cost import peak, reset_peak
from redraft.methods.method import Method
from redraft.methods.solver import Solver
from redraft.nets.blocks import parameters
from redraft.recipes import RECIPES, Run, build
from redraft.recipes.ends import Ends
from redraft.recipes.matrix import method_for, only_task
from redraft.tasks import TASKS, Task
from redraft.training import pick_device
from redraft.training import train as fit
from redraft.training.checkpoint import saved
from redraft.training.folder import refuse_another, resumable
from redraft.training.processes import barrier, processes, rank, world

HELD_OUT = 512  # real pairs whose energies are kept for the score


def train(
    data: str,
    *,
    task: str | None = None,
    method: str | None = None,
    initializer: str | None = None,
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
    refuse_empty(DATA=data, initializer=initializer, out=out)
    refuse_seed(seed)
    assignments = refuse_settings(settings)
    refuse_length(steps, minutes)
    where = pick_device(device)
    with processes(where):
        report = checked(data, direction)
        initial = foreign.given(initializer, method, out, resume)
        if initial is None:
            name, method = chosen(report.folder, task, method)
            begun = _begun(_place(out, data, name, method)) if resume else None
            run = plan(report, name, method, recipe, size, seed, assignments, begun)
        else:
            refuse_experts(assignments)
            run = foreign.plan(initial, report, task, recipe, size, seed)
        run = settle(run, [*length(steps, minutes), *assignments])
        if initial is not None:
            run, initial = foreign.ready(run, initial)
        place = _place(out, data, run.task_name, run.label)
        refuse_file(place, "a run")
        fit_run(report.folder, run, place, where, resume=resume, initial=initial)
        for line in _next(report.folder, run, place, direction):
            say(line)
        barrier()
        return place


def _place(out: str | None, data: str, task: str, label: str) -> Path:
    return Path(out or f"runs/{Path(data).name}-{task}-{label}")


def _begun(place: Path) -> Path | None:
    """The folder of a run that has learnt something, and so goes on with the experts that it has."""
    return place if saved(place / "checkpoints") else None


def checked(data: str, direction: str | None) -> Report:
    """The folder, looked through; what would make training go wrong is refused, other faults are told."""
    report = check(open_folder(data, direction))
    if report.fatal:
        worst = next(f.sentence for f in report.findings if f.severity == "error")
        raise DataError(f"{worst} (See: redraft data check)")
    for finding in report.findings:
        if finding.severity == "warning":
            say(f"warning: {finding.sentence}")
    return report


def plan(
    report: Report,
    task: str | None,
    method: str | None,
    recipe: str,
    size: int | None,
    seed: int,
    settings: Iterable[str] = (),
    begun: Path | None = None,
) -> Run:
    """The run that suits the folder, with what the user wishes; of ``settings`` the experts' are met here.

    ``begun`` is the folder of a run that is gone on with.
    """
    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES)
    name, method = chosen(report.folder, task, method)
    if method == "solver":
        raise UsageError(
            "Method solver refines an initializer that is there already: train it with redraft train DATA "
            "--method solver --initializer MODEL; redraft compare takes it as a finished run."
        )
    find = partial(ends, method=method, assignments=list(settings), begun=begun)
    made, between = _between(report, name, size, find)
    pictures = between.target.draws or len(report.folder.examples["train"])
    return RECIPES[recipe](made, method, pictures, seed, between)


def chosen(folder: Folder, task: str | None, method: str | None) -> tuple[str, str]:
    """The names of task and method: the wanted ones if folder and each other suit them, else the usual."""
    name = suited(folder, task or only_task(method))
    try:
        return name, method_for(name, method)
    except UsageError as problem:
        hint = "" if task or method is None else instead(folder, method)
        raise UsageError(f"{problem}{hint}") from None


def _between(report: Report, name: str, size: int | None, find: Callable[[Task], Ends]) -> tuple[Task, Ends]:
    """The task and its experts. The usual size gives way to one that they can have; a wanted one does not."""
    usual = _size(report, name, size)
    made = TASKS[name].of(report.folder, usual)
    try:
        return made, find(made)
    except UsageError:
        if size is not None or usual != 28:
            raise
    made = TASKS[name].of(report.folder, 32)
    found = find(made)
    say("Pictures are made at 32 px: the experts cannot have 28 px, which is the pictures' own size.")
    return made, found


def settle(run: Run, assignments: Iterable[str]) -> Run:
    """The run with the user's settings, refused where it cannot be trained by these processes."""
    run = fitting_batch(run, world()).override(line for line in assignments if not is_end(line))
    refuse_run(run, world())
    return run


def fit_run(
    folder: Folder,
    run: Run,
    out: Path,
    device: torch.device,
    *,
    resume: bool = False,
    initial: foreign.Given | None = None,
) -> Path:
    """Train a run on a folder, then write the model with its calibration into ``out``/model.

    ``initial``: what its initializer has learnt before, and where.
    """
    begun = resume and resumable(out)
    if not resume:
        refuse_another(out)
    say(folder.understood)
    before = reset_peak(device)
    training = store(folder, "train", run, margin=True)
    held_out = store(folder, "test", run)
    _tell_skipped(training, held_out)
    copies = None if initial is None else initial.place
    between = bridge(run, device, out if begun and (out / COPIES).is_dir() else copies)
    if run.target.draws:
        training = drawn(run, between)
    method = build(run)
    if initial is not None and initial.state is not None and isinstance(method, Solver):
        try:
            method.initializer.load_state_dict(initial.state)
        except RuntimeError:  # names or shapes of its tensors
            raise UsageError(
                "The settings networks.* make another network than the initializer is; leave out those of "
                "the initializer: --initializer MODEL sets them."
            ) from None
    method = method.to(device)
    counts = ", ".join(f"{name} {parameters(net):,}" for name, net in method.networks.items())
    say(
        f"Task {run.task_name}, method {run.label} ({run.recipe}), {run.task.spec.size} px, "
        f"{len(training)} pictures to train on and {len(held_out)} held out; parameters: {counts}. Run: {out}"
    )
    scales = kept_scales(out) if begun else None
    if scales is None and initial is not None:
        scales = initial.scales
    see = seen(training, run, between, device, scales)
    keep(between, out)
    if foreign_ := unknown_words(between.condition, training.captions):
        say(foreign_)
    begin(method, training, run, device, see)
    view = partial(Viewed, bridge=between, keep=run.task.keep)
    some = gathered(pairs(held_out, run, device, run.seed, most=HELD_OUT))
    lost = ceiling(between, some.target)
    if lost is not None:
        say(lost[0])
    rows = spread_out(some, min(8, len(some.target)))
    few = Pair(None if some.condition is None else some.condition[rows], some.target[rows])
    with Teller() as tell:
        outcome = fit(
            method,
            batches(training, run, device, see),
            run.train,
            out,
            seed=run.seed,
            resume=resume,
            config={**run.to_dict(), "data": pictures_key(training)},
            draw=_drawer(run, few, device, view),
            report=tell,
        )
    if rank() == 0:
        known = gathered(pairs(training, run, device, run.seed, most=20_000))
        about = {
            "steps": outcome.steps,
            "seconds": round(outcome.seconds, 1),
            "waiting": round(outcome.waiting, 4),
            "megabytes": None if math.isnan(before) else round(peak(device)),
            "pictures": len(training),
            "data": folder.understood,
            **({} if lost is None else {"reconstruction_psnr": round(lost[1], 2)}),
        }
        model = Model(
            run,
            method,
            Calibration.of(_energies(run, view(method), some), known.condition, some.condition),
            bridge=between,
            about=about,
            device=device,
        )
        model.save_pretrained(out / "model", card(run, about), replace=True)
        say(f"Done: {outcome.steps} steps in {outcome.seconds / 60:.1f} minutes. Model: {out / 'model'}")
    barrier()
    return out


def _next(folder: Folder, run: Run, out: Path, direction: str | None) -> list[str]:
    """What to do with the model: two lines to copy."""
    given = ""
    if run.task_name == "category":
        given = shlex.quote(folder.categories[0]) + " "
    elif run.task_name == "text":
        told = next((e.caption for e in folder.examples["test"] if e.caption), folder.categories[:1])
        given = shlex.quote(told if isinstance(told, str) else told[0]) + " "
    elif run.task.spec.condition == "picture":
        made = run.task_name in ("recover", "upscale", "colour")  # of the wanted picture
        example = ((not made and folder.given) or folder.examples)["test"][0]
        source = (not made and example.condition) or example.target
        file = "PICTURE" if source.part else shlex.quote(str(source.path))  # a part of a file
        given = f"{file} "
    data = folder.root.name if folder.root.name in embedded_names() else str(folder.root)
    run_, nets = shlex.quote(str(out)), run.networks
    noise = {"modern": nets.noise, "pix2pix": nets.dropout, "cut": False}.get(nets.initializer, True)
    noise = noise and not (run.method_name == "fusion" and not run.task.spec.paired)
    one = run.task.spec.condition == "picture" and not nets.style and not noise  # variants would be alike
    way = f" --direction {shlex.quote(direction)}" if direction else ""
    many = "" if one else "--variants 4 "
    return [
        f"Next: redraft generate {run_} {given}{many}--out {shlex.quote(f'{out}/pictures')}",
        f"      redraft evaluate {run_} {shlex.quote(data)}{way}",
    ]


def _tell_skipped(*stores: Store) -> None:
    skipped = [sentence for store in stores for sentence in store.skipped]
    for sentence in skipped[:5]:
        say(f"Left out: {sentence}")
    if len(skipped) > 5:
        say(f"... and {len(skipped) - 5} more; see: redraft data check")


def card(run: Run, about: Mapping[str, object]) -> str:
    """The model's README: what it is, how it was made, how to use it."""
    return (
        f"# Redraft model: {run.task_name}\n\n"
        f"Method {run.label}, recipe {run.recipe}, {run.task.spec.size} px, trained "
        f"{about['steps']} steps ({about['seconds']} s) on {about['pictures']} pictures. {about['data']}\n\n"
        "```\nredraft generate THIS_FOLDER [CONDITION ...] --out NEW_FOLDER\n```\n"
        "```python\nimport redraft\nmodel = redraft.Model.from_pretrained('THIS_FOLDER')\n"
        "made = model(..., variants=4, seed=0)\n"
        "made.images, made.drafts, made.percentiles\n```\n\n"
        "The pictures that it was trained on may have terms of their own; they hold for what it makes.\n"
    )


def _drawer(
    run: Run, few: Pair, device: torch.device, view: Callable[[Method], Viewed]
) -> Callable[[Any], Tensor]:
    """The sample grid: condition, draft, refined, truth, always of the same held-out pictures."""

    def draw(method: Method) -> Tensor:
        n = len(few.target) if few.condition is not None else 8
        made = view(method).generate(_to(few.condition, device), n, PictureNoise(run.seed, range(n), device))
        drafts, refined = made.drafts.cpu().clamp(-1, 1), made.images.cpu().clamp(-1, 1)
        rows = [drafts, refined, few.target] if method.refine_steps else [drafts, few.target]
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
    refuse_size(wanted, task)
    return wanted


def length(steps: int | None, minutes: float | None) -> list[str]:
    """The setting for how long to train; 10 minutes where nothing is wished."""
    if steps is not None:
        return [f"train.steps={steps}"]
    if minutes is not None:
        return [f"train.minutes={minutes}"]
    return ["train.minutes=10"]


def _energies(run: Run, viewed: Viewed, held_out: Pair) -> Tensor:
    """E [M] of held-out pairs: real ones, or a generator's draws."""
    if run.target.draws:
        return energies(run, viewed.bridge, viewed.method)
    device = viewed.bridge.mean.device
    parts = _chunks(held_out)
    return torch.cat([viewed.energy(x.to(device), _to(c, device)).cpu() for c, x in parts])


def _chunks(real: Pair, n: int = 64) -> Iterable[Pair]:
    for i in range(0, len(real.target), n):
        yield Pair(None if real.condition is None else real.condition[i : i + n], real.target[i : i + n])


def _to(c: Tensor | None, device: torch.device) -> Tensor | None:
    return None if c is None else c.to(device)
