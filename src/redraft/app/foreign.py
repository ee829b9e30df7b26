"""``--initializer MODEL``: a run that begins with an initializer that has been trained elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from redraft.app.begun import begun_run
from redraft.app.check import suited
from redraft.app.model import Model
from redraft.app.show import say
from redraft.core.errors import CheckpointError, DataError, UsageError
from redraft.data import Report
from redraft.methods.solver import Solver
from redraft.nets.foreign import READABLE, Foreign, make, read, suited_state
from redraft.nets.onnx import OnnxInitializer, values_of
from redraft.recipes import RECIPES, Run
from redraft.recipes.ends import NO_EXPERTS, Ends
from redraft.tasks import TASKS, Task

OF_THE_FOLDER = ("half", "made")  # of a task: how a folder holds what is given
FIXED = ("names", "classes", "palette")  # of a task: what an initializer has learnt the meaning of
COPIED = ("initializer", "initializer_width", "z", "style", "noise", "dropout", "flow")


@dataclass(frozen=True)
class Given:
    """An initializer that is there already."""

    foreign: Foreign
    state: dict[str, Tensor] | None  # None: a checkpoint of the run holds it
    run: Run | None = None  # that made it, where redraft made it
    scales: dict[str, Tensor] | None = None  # of the bridge that it was trained on
    place: Path | None = None  # the bundle, which may hold copies of its experts


def given(model: str | None, method: str | None, out: str | None, resume: bool) -> Given | None:
    """What ``--initializer`` names, or what the run that is gone on with was begun with; None for neither."""
    before = _begun(Path(out)) if out and resume else None
    if model is None and before is None:
        if method == "solver":
            raise UsageError(f"Method solver needs --initializer MODEL, which it refines. {READABLE}.")
        return None
    if method not in (None, "solver"):
        raise UsageError(f"--initializer is for --method solver; {method} trains one of its own.")
    if model is None or (before and not Path(model).exists()):
        return before
    named = _open(model)
    if before and named.foreign.sha256 != before.foreign.sha256:
        raise CheckpointError(
            f"The run in {out} was begun with {before.foreign.origin}, and {model} has other weights: "
            "name that one, or leave --initializer out."
        )
    return before or named


def _begun(out: Path) -> Given | None:
    """The initializer of the run in ``out``, whose weights are in its checkpoints."""
    run = begun_run(out)
    if run is None or run.networks.foreign is None:
        return None
    return Given(run.networks.foreign, None, run)


def _open(model: str) -> Given:
    place = Path(model)
    if place.is_dir():
        theirs = Model.from_pretrained(place, "cpu")
        method = theirs.method
        if theirs.run.networks.initializer == "denoiser":
            raise UsageError(
                f"{model} is a diffusion model, whose drafts take many passes: a solver refines those of one."
            )
        net = method.initializer if isinstance(method, Solver) else method.networks["initializer"]
        made_by = theirs.run.networks.foreign
        told = made_by or Foreign(origin=model, sha256=theirs.hash)
        told = replace(told, origin=model, sha256=theirs.hash)
        scales = None if theirs.bridge.open else theirs.bridge.scales()
        return Given(told, net.state_dict(), theirs.run, scales, Path(theirs.place))
    if not place.is_file():
        raise UsageError(f"There is no file or folder {model}. {READABLE}.")
    foreign, state = read(place)
    return Given(foreign, state)


def plan(initial: Given, report: Report, task: str | None, recipe: str, size: int | None, seed: int) -> Run:
    """The run that trains a solver for this initializer on this folder."""
    if initial.run is None:
        made = _task_of(initial.foreign, report, task, size)
    else:
        made = _task_like(initial.run, initial.foreign.origin, report, task, size)
    if initial.run is not None and initial.run.method_name == "fusion" and not made.spec.paired:
        raise UsageError(
            f"{initial.foreign.origin} turns one side into the other by way of its own inverse, which no "
            "solver takes over; where sides have no pairs, --initializer is a model of method cut."
        )
    between = NO_EXPERTS
    if initial.run is not None:  # its initializer works between these experts, and so must the solver
        between = Ends(condition=initial.run.condition, target=initial.run.target)
    run = RECIPES[recipe](made, "solver", len(report.folder.examples["train"]), seed, between)
    if initial.run is None:
        copied: dict[str, Any] = {"initializer": "foreign"}
    else:
        copied = {key: getattr(initial.run.networks, key) for key in COPIED}
        run = replace(run, reading=replace(run.reading, stretch=initial.run.reading.stretch))
    return replace(run, networks=replace(run.networks, **copied, foreign=initial.foreign))


def _task_like(run: Run, origin: str, report: Report, task: str | None, size: int | None) -> Task:
    """The task of the model's own run, with what the folder decides."""
    if task not in (None, run.task_name):
        raise UsageError(f"{origin} does task {run.task_name}, so leave out --task {task}.")
    theirs: Any = run.task
    if size not in (None, theirs.size):
        raise UsageError(f"{origin} makes pictures of {theirs.size} px, so leave out --size {size}.")
    ours = TASKS[suited(report.folder, run.task_name)].of(report.folder, theirs.size)
    for key in FIXED:
        if getattr(theirs, key, None) != getattr(ours, key, None):
            raise DataError(
                f"{origin} was trained with other {key} than {report.folder.root} has: "
                f"{getattr(theirs, key)} against {getattr(ours, key)}."
            )
    names = {f.name for f in fields(theirs)}
    return replace(theirs, **{key: getattr(ours, key) for key in OF_THE_FOLDER if key in names})


def _task_of(foreign: Foreign, report: Report, task: str | None, size: int | None) -> Task:
    """The task that a generator of other code is for, as far as its file says."""
    folder, noise = report.folder, foreign.noise != (0,)
    if task is None:  # colours of a label map are seen as such by other code
        task = "none" if noise else "pairs" if folder.condition_kind == "labels" else None
    name = suited(folder, task)
    if foreign.size and size not in (None, foreign.size):
        raise UsageError(f"{foreign.origin} makes pictures of {foreign.size} px, so leave out --size {size}.")
    whole = 2**foreign.depth if foreign.network == "unet" else 0
    side = size if size is not None else foreign.size or whole or _usual(report)
    made: Any = TASKS[name].of(folder, side)
    wanted = {"channels": foreign.channels, "condition_channels": foreign.given}
    names = {f.name for f in fields(made)}
    made = replace(made, **{key: n for key, n in wanted.items() if n and key in names})
    spec, start = made.spec, "none" if noise else "picture"
    if spec.condition != start:
        raise UsageError(
            f"{foreign.origin} makes pictures {'from noise' if noise else 'from pictures'}, and task {name} "
            f"starts from {_START[spec.condition]}; choose another --task."
        )
    if foreign.given not in (0, spec.width) or foreign.channels not in (0, spec.channels):
        raise UsageError(
            f"{foreign.origin} takes {foreign.given} channels and makes {foreign.channels}, and task {name} "
            f"gives {spec.width} and wants {spec.channels}; choose another --task."
        )
    return made


_START = {"none": "nothing", "category": "a category", "picture": "a picture", "sentence": "words"}


def _usual(report: Report) -> int:
    """64 px, or 32 where the pictures are smaller."""
    usual = max(report.sizes, key=lambda size: report.sizes[size], default=(64, 64))
    return 64 if min(usual) >= 64 else 32


def _told(run: Run, foreign: Foreign) -> str:
    """What the initializer was understood to be, and what becomes of it."""
    what = {
        "": f"a model of redraft ({run.networks.initializer})",
        "resnet": f"a ResNet of {foreign.depth} blocks and {foreign.width} channels",
        "unet": f"a U-Net of {foreign.depth} halvings and {foreign.width} channels",
        "onnx": f"an ONNX file of {foreign.bytes / 1e6:.3g} MB",
    }[foreign.network]
    taught = isinstance(run.method, Solver.Config) and run.method.teach
    return f"Initializer: {foreign.origin}, {what}; it {'is taught' if taught else 'stays as it is'}."


def ready(run: Run, initial: Given) -> tuple[Run, Given]:
    """The run with what its settings left open of the initializer, and that with tensors for the method's."""
    foreign, state = run.networks.foreign, initial.state
    if foreign is None or state is None:
        return run, initial
    say(_told(run, foreign))
    if foreign.network:
        state = suited_state(state, foreign)
    initial = replace(initial, state=state)
    if foreign.network != "onnx" or foreign.values:
        return run, initial
    net = make(foreign, run.spec)
    net.load_state_dict(state)
    assert isinstance(net, OnnxInitializer)
    values, low, high = values_of(net)
    say(
        f"{foreign.origin} makes values from {low:.2f} to {high:.2f}, so its pictures are taken to lie "
        f"in {values} (else: --set networks.foreign.values=...)."
    )
    foreign = replace(foreign, values=values)
    return replace(run, networks=replace(run.networks, foreign=foreign)), initial
