"""Train on a folder of pictures: from what the folder is to a model that can be used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from redraft.app import foreign
from redraft.app import prior as priors
from redraft.app.alone import alone
from redraft.app.begin import begin, measured, pictures_key, seen
from redraft.app.begun import default_place, default_run, keep_told, told_of
from redraft.app.bridges import COPIES, Viewed, bridge, ends, is_end, keep, kept_scales
from redraft.app.check import instead, open_folder, speaks, suited
from redraft.app.drawn import drawn, energies
from redraft.app.examples import batches, gathered, pairs, spread_out, store
from redraft.app.language import unknown_words
from redraft.app.latent import ceiling, residual_norm
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
from redraft.app.samples import drawer
from redraft.app.show import say
from redraft.app.told import card, next_lines, tell_captions, tell_few, tell_skipped
from redraft.core.config import override
from redraft.core.errors import DataError, UsageError, unknown
from redraft.core.types import Pair
from redraft.data import Folder, Report, captioned
from redraft.data.check import check
from redraft.data.splits import shared
from redraft.evaluation.calibration import Calibration
from redraft.evaluation.cost import peak, reset_peak
from redraft.methods.solver import Solver
from redraft.nets.blocks import parameters
from redraft.recipes import RECIPES, Run, build
from redraft.recipes.ends import Ends
from redraft.recipes.matrix import method_for, only_task
from redraft.recipes.run import Reading
from redraft.tasks import TASKS, Task
from redraft.training import pick_device
from redraft.training import train as fit
from redraft.training.checkpoint import saved
from redraft.training.folder import refuse_another, refuse_another_run, resumable
from redraft.training.processes import barrier, processes, rank, world

HELD_OUT = 512  # real pairs whose energies are kept for the score


def train(
    data: str,
    *,
    task: str | None = None,
    method: str | None = None,
    initializer: str | None = None,
    prior: str | None = None,
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
    refuse_empty(DATA=data, initializer=initializer, prior=prior, out=out)
    refuse_seed(seed)
    assignments = refuse_settings(settings)
    refuse_length(steps, minutes)
    where = pick_device(device)
    with processes(where):
        begins_with = method or ("piti" if prior else "solver" if initializer else None)
        if resume and out is None and begins_with in ("piti", "solver"):
            found = default_run(data, task, begins_with)  # what it begins with is known by its folder
            out, task = (str(found[0]), found[1].task_name) if found else (None, task)
        initial = foreign.given(initializer, method, out, resume)
        begins = priors.given(prior, method, out, resume)
        method = "piti" if begins else method
        before = None if initial is None or initial.run is None else initial.run.task_name
        unpaired = (task or only_task(method) or before) == "unpaired"
        report = checked(data, direction, unpaired=unpaired)
        if initial is None:
            tell_captions(report.folder, task, method)
            name, method = chosen(report.folder, task, method)
            begun = _begun(_place(out, data, name, method)) if resume else None
            run = plan(report, name, method, recipe, size, seed, assignments, begun, begins)
        else:
            refuse_experts(assignments)
            run = foreign.plan(initial, report, task, recipe, size, seed)
        run = settle(run, [*length(steps, minutes), *assignments])
        if initial is not None:
            run, initial = foreign.ready(run, initial)
        place = _place(out, data, run.task_name, run.label)
        refuse_file(place, "a run")
        if resume:
            resumable(place)  # before a folder is made
        with alone(place, "train"):
            fit_run(report.folder, run, place, where, resume=resume, initial=initial, begins=begins)
        for line in next_lines(report.folder, run, place, direction):
            say(line)
        barrier()
        return place


def _place(out: str | None, data: str, task: str, label: str) -> Path:
    return Path(out) if out else default_place(data, task, label)


def _begun(place: Path) -> Path | None:
    """The folder of a run that has learnt something, and so goes on with the experts that it has."""
    return place if saved(place / "checkpoints") else None


def checked(data: str, direction: str | None, *, unpaired: bool = False) -> Report:
    """The folder, looked through; what would make training go wrong is refused, other faults are told.

    ``unpaired``: for that task, which needs no partners.
    """
    report = check(open_folder(data, direction, unpaired=unpaired))
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
    begins: priors.Given | None = None,
) -> Run:
    """The run that suits the folder, with what the user wishes; of ``settings`` the experts' are met here.

    ``begun`` is the folder of a run that is gone on with, ``begins`` the prior of method piti.
    """
    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES)
    name, method = chosen(report.folder, task, method)
    if method == "solver":
        raise UsageError(
            "Method solver refines an initializer that is there already: train it with redraft train DATA "
            "--method solver --initializer MODEL; redraft compare takes it as a finished run."
        )
    if method == "piti" and begins is None:
        raise UsageError(f"{priors.NEEDED}.")
    lines, begun = priors.with_latent(list(settings), begins), begun or priors.place(begins)
    find = partial(ends, method=method, assignments=lines, begun=begun)
    if size is None and begins is not None:
        size = begins.px or None
    made, between = _between(report, name, size, find)
    learnt = shared(_learnt(report.folder, name), _share(lines))
    pictures = between.target.draws or len(learnt.examples["train"])
    return priors.begun_with(RECIPES[recipe](made, method, pictures, seed, between), begins)


def _learnt(folder: Folder, task: str) -> Folder:
    """Of a folder what a task learns from: words are learnt from captioned pictures alone."""
    return captioned(folder) if task == "text" else folder


def _share(settings: Iterable[str]) -> float:
    """Of the training pictures, as ``--set`` lines wish it."""
    lines = [line.strip() for line in settings]
    wished = [line.removeprefix("reading.") for line in lines if line.startswith("reading.share")]
    return override(Reading(), wished, "reading.").share


def chosen(folder: Folder, task: str | None, method: str | None) -> tuple[str, str]:
    """The names of task and method: the wanted ones if folder and each other suit them, else the usual.

    A fusion is there for words: it takes captions without being told.
    """
    if task is None and method == "fusion" and speaks(folder):
        task = "text"
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
    begins: priors.Given | None = None,
) -> Path:
    """Train a run on a folder, then write the model with its calibration into ``out``/model.

    ``initial``: what its initializer has learnt before, and where; ``begins``: its prior.
    """
    begun = resume and resumable(out)
    if not resume:
        refuse_another(out)
    say(folder.understood)
    before = reset_peak(device)
    training = store(folder, "train", run, margin=True)
    held_out = store(folder, "test", run)
    tell_skipped(training, held_out)
    tell_few(run, len(training))
    copies = priors.place(begins) if initial is None else initial.place
    between = bridge(run, device, out if begun and (out / COPIES).is_dir() else copies)
    if run.target.draws:
        training = drawn(run, between)
    config = {**run.to_dict(), "data": pictures_key(training)}
    if begun:
        refuse_another_run(out, config)
    method = build(run)
    if initial is not None and initial.state is not None and isinstance(method, Solver):
        try:
            method.initializer.load_state_dict(initial.state)
        except RuntimeError:  # names or shapes of its tensors
            raise UsageError(
                "The settings networks.* make another network than the initializer is; leave out those of "
                "the initializer: --initializer MODEL sets them."
            ) from None
    priors.fill(method, run, begins)
    method = method.to(device)
    counts = ", ".join(f"{name} {parameters(net):,}" for name, net in method.networks.items())
    say(
        f"Task {run.task_name}, method {run.label} ({run.recipe}), {run.task.spec.size} px, "
        f"{len(training)} pictures to train on{_shared(run)} and {len(held_out)} held out; "
        f"parameters: {counts}. Run: {out}"
    )
    scales = kept_scales(out) if begun else None
    if scales is None and initial is not None:
        scales = initial.scales
    if scales is None and begins is not None:
        scales = begins.loaded.scales
    see = seen(training, run, between, device, scales)
    keep(between, out)
    if begins is not None and begins.loaded.state and rank() == 0:
        keep_told(out, begins.loaded.state, begins.place)
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
            config=config,
            draw=drawer(run, few, device, view),
            measure=measured(method, training, run, device, see),
            report=tell,
        )
    priors.settle(method, run)
    if rank() == 0:
        known = gathered(pairs(training, run, device, run.seed, most=20_000))
        about = {
            "steps": outcome.steps,
            "seconds": round(outcome.seconds, 1),
            "waiting": round(outcome.waiting, 4),
            "megabytes": None if math.isnan(before) else round(peak(device)),
            "pictures": len(training),
            "data": f"Drawn by {run.target.latent}. " * bool(run.target.draws) + folder.understood,
            **({} if lost is None else {"reconstruction_psnr": round(lost[1], 2)}),
            **told_of(out),
            **residual_norm(method, between, some),
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


def _shared(run: Run) -> str:
    """Why there are fewer than the folder has."""
    return "" if run.reading.share == 1 else f" (reading.share={run.reading.share:g})"


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
