"""Drafts and refined pictures against held-out pictures, beside controls; and the report that shows them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from redraft.app import latent
from redraft.app.against_time import against_time
from redraft.app.captions import reader
from redraft.app.check import open_folder
from redraft.app.drafting import LEVEL, refuse_level
from redraft.app.examples import gathered, pairs, store
from redraft.app.model import Model, refuse_counts
from redraft.app.page import page
from redraft.app.refuse import refuse_empty, refuse_file, refuse_seed, refuse_steps
from redraft.app.show import say
from redraft.core.errors import DataError, UsageError, unknown
from redraft.core.types import Pair
from redraft.data import Folder
from redraft.data.home import cache_home
from redraft.evaluation import agreement as agree
from redraft.evaluation import judge, report, segmenter
from redraft.evaluation.calibration import descriptor
from redraft.evaluation.evaluate import Agreement, Asked, Score
from redraft.evaluation.evaluate import evaluate as measure
from redraft.evaluation.features import FEATURES, Features, JudgeFeatures
from redraft.evaluation.lpips import Lpips
from redraft.evaluation.matching import caption_agreements, fit_matcher
from redraft.evaluation.once import OnceSeen
from redraft.evaluation.table import Interval, Measure, Scores, short
from redraft.recipes.run import ADVERSARIAL, Run
from redraft.tasks import TASKS
from redraft.tasks.category import CategoryToPicture
from redraft.tasks.upscale import Upscale
from redraft.training.processes import gather_rows, processes, rank, world

JUDGED = ("category", "labels", "text")  # tasks whose pictures a trained judge looks at
TRAINING = 20_000  # training pictures that judges and controls see


class Drawn(NamedTuple):
    drafts: Tensor
    images: Tensor
    energies: Tensor


def evaluate(
    place: str,
    data: str,
    *,
    out: str | None = None,
    refine: int | None = None,
    pictures: int = 1000,
    features: str = "small",
    seed: int = 0,
    direction: str | None = None,
    temperature: float | None = None,
    drafts: str | None = None,
    level: float | None = None,
    device: str = "auto",
) -> Scores:
    """Measure a model on a folder's held-out pictures; writes OUT/index.html and returns the scores.

    With ``drafts``, a run, pictures begin at its pictures (``Model.draft_by``); quality against time is told.
    """
    if pictures < 2:
        raise UsageError(f"--pictures must be at least 2, not {pictures}.")
    refuse_empty(MODEL=place, DATA=data, out=out, drafts=drafts)
    refuse_level(drafts, level)
    refuse_seed(seed)
    refuse_counts(1, None, refine)
    if features not in (*FEATURES, "judge"):
        raise unknown("features", features, (*FEATURES, "judge"))
    model = Model.from_pretrained(place, device)
    if temperature is not None:
        model.temper(temperature)
    if drafts is not None:
        drafted = model.draft_by(drafts, LEVEL if level is None else level)
        say(f"Drafts {drafted.says}.")
        refine = drafted.refine_steps if refine is None else refine
    refuse_steps(model.run, refine)
    if refine is None:  # what refinement offers is measured, even where it is made on demand alone
        refine = model.run.solver_steps
    folder_out = _place(place, out)
    refuse_another(folder_out)
    with processes(model.device):
        folder = open_folder(data, direction, unpaired=not model.task.spec.paired)
        say(f"Reading {data}.")
        known, held_out = real_pairs(model, folder, pictures, seed)
        if model.run.task_name in JUDGED:
            say("Judging needs a network that knows the training pictures: it is trained once, then kept.")
        asked = questions(model, known, held_out, features)
        say(f"Making and measuring pictures for {len(held_out.target)} held-out ones.")
        scores = measure(drawer(model, refine, seed), known, held_out, asked)
        scores = replace(scores, ahead=latent.sentences(model, known, held_out, asked))
        if temperature is not None:
            note = f"Pictures are drawn at temperature {temperature:g}."
            scores = replace(scores, notes=(note, *scores.notes))
        if rank() == 0:
            scores = replace(scores, against_time=against_time(model, held_out, asked, seed, scores.truth))
            made = page(
                model, folder, known, held_out, scores, refine=refine, seed=seed, run=folder_out.parent
            )
            for line in table_lines(scores):
                say(line)
            say(f"Report: {report.write(made, folder_out)}")
    return scores


def refuse_other_pictures(run: Run, folder: Folder) -> None:
    """Refuse a folder that a run's model cannot be measured on."""
    reason = TASKS[run.task_name].misfit(folder)
    if reason:
        raise DataError(f"The model does {run.task_name}, which {folder.root} does not suit: {reason}.")
    if isinstance(run.task, CategoryToPicture) and folder.categories != run.task.names:
        names = ", ".join(run.task.names)
        raise DataError(f"The categories of {folder.root} are not those that the model knows: {names}.")
    if (there := len(folder.examples.get("test", ()))) < 2:
        raise DataError(f"{folder.root} has {_held_out(there)}; measuring takes two or more.")


def _held_out(n: int) -> str:
    return f"{n or 'no'} held-out picture{'' if n == 1 else 's'}"


def real_pairs(model: Model, folder: Folder, pictures: int, seed: int) -> tuple[Pair, Pair]:
    """Training and held-out pairs of a folder, as the model's task sees them."""
    run = model.run
    refuse_other_pictures(run, folder)
    train = gathered(
        pairs(store(folder, "train", run, margin=False), run, torch.device("cpu"), seed, TRAINING)
    )
    unseen = store(folder, "test", run)
    if not unseen.paired and unseen.condition is not None:
        pictures = min(pictures, len(unseen.condition))  # each given picture once
    test = gathered(pairs(unseen, run, torch.device("cpu"), seed, pictures))
    if len(test.target) < 2:
        raise DataError(
            f"{folder.root} has {_held_out(len(test.target))} that can be read; measuring takes two or more."
        )
    return train, test


def questions(model: Model, known: Pair, held_out: Pair, features: str) -> Asked:
    """What to ask of the task's pictures; what depends on real ones alone is found once for all models."""
    run = model.run
    cache = cache_home() / "judges"
    eyes = None if features == "judge" else OnceSeen(FEATURES[features]())
    if eyes is not None:
        eyes.keep(known.target, cache)
        eyes.keep(held_out.target, cache)
    agreements, doubt, seen, describe = _agreements(model, known, eyes, cache)
    if eyes is None and seen is None:
        raise UsageError("--features judge is for models of categories; use small or efficientnet.")
    return Asked(
        features=eyes or OnceSeen(JudgeFeatures(seen)),
        agreements=agreements,
        doubt=doubt,
        distance=Lpips.find(),
        paired=run.task.spec.paired,
        row="draft" if isinstance(run.method, ADVERSARIAL) else "refined",
        refined=run.solver_steps > 0,
        keep=run.task.keep,
        describe=describe,
    )


def _agreements(
    model: Model, known: Pair, eyes: Features | None, cache: Path
) -> tuple[list[Agreement], Any, Any, Callable[[Tensor], Tensor]]:
    """Measures of agreement with the condition, an error for pictures without one truth, a classifier, and
    what tells how near conditions are to one another."""
    run, (c, x) = model.run, known
    if run.task_name == "text" and c is not None and eyes is not None:
        see, name = reader(model, c)
        matcher = fit_matcher(x, see(c), eyes, cache)
        return caption_agreements(matcher, see, name), lambda x, c: matcher.doubt(x, see(c)), None, see
    agreements, doubt, seen = _others(model, known, cache)
    return agreements, doubt, seen, descriptor


def _others(model: Model, known: Pair, cache: Path) -> tuple[list[Agreement], Any, Any]:
    """The same of tasks without sentences."""
    run, (c, x) = model.run, known
    if run.task_name == "category" and c is not None:
        seen = judge.train_judge(x, c, run.task.spec.width, cache=cache)
        says = "share that a classifier trained on the same pictures recognises"
        score = Agreement(name="agreement", says=says, score=lambda x, c: judge.agreement(seen, x, c))
        return [score], lambda x, c: judge.doubt(seen, x, c), seen
    if run.task_name == "labels" and c is not None:
        net = segmenter.train_segmenter(x, c, cache=cache)
        says = "overlap with the label map, seen by a segmenter trained on the same pictures"
        score = Agreement(
            name="mIoU", says=says, score=lambda x, c: segmenter.confusion(net, x, c), pool=segmenter.mean_iou
        )
        return [score], None, None
    if run.task_name == "edges":
        says = "F-measure of the picture's edges against the drawing, within 1 px"
        score = Agreement(name="edges", says=says, score=lambda x, c: agree.edge_agreement(x, c[:, :1]))
        return [score], None, None
    if run.task_name == "unpaired":
        says = (
            "edges where the given picture has them, 1 = all; the real rows stand beside other given pictures"
        )
        return [Agreement(name="content", says=says, score=agree.content_kept)], None, None
    kept: dict[str, tuple[str, Score]] = {
        "recover": ("known pixels", agree.known_error),
        "colour": ("brightness", agree.luma_error),
    }
    if isinstance(run.task, Upscale):
        kept["upscale"] = ("reduced", partial(agree.reduced_error, factor=run.task.factor))
    if run.task_name in kept:
        name, score_of = kept[run.task_name]
        says = "root mean square difference from what the condition fixes, 0 = kept"
        return [Agreement(name=name, says=says, score=score_of, better="lower")], None, None
    return [], None, None


def drawer(model: Model, refine: int | None, seed: int) -> Any:
    """Pictures for conditions; every row of every variant has noise of its own. Processes share the work."""
    drawn: Counter[int] = Counter()
    steps = refine

    def draw(c: Tensor | None, n: int, *, variant: int, refine: int | None) -> Drawn:
        start = drawn[variant]
        drawn[variant] += n
        mine = list(range(rank(), n, world()))
        rows = None if c is None else c[mine]
        numbers = [variant * 10_000_000 + start + i for i in mine]
        made = model.make(rows, numbers, refine=steps if refine is None else refine, seed=seed, chunk=64)
        return Drawn(*(gather_rows(t, n) for t in (made.drafts, made.images, made.energies)))

    return draw


def _place(place: str, out: str | None) -> Path:
    if out is not None:
        return Path(out)
    run = Path(place)
    return (run.parent if (run / "config.json").exists() else run) / "report"


def refuse_another(out: Path) -> None:
    """A report goes into a new or empty folder, or over an earlier report."""
    refuse_file(out, "a report")
    ours = (out / "scores.json").exists() and (out / "index.html").exists()
    if out.is_dir() and any(out.iterdir()) and not ours:
        raise UsageError(f"{out} holds other files than a report of ours; give another --out.")


def table_lines(scores: Scores) -> list[str]:
    """The scores for a terminal: at most six columns, without intervals; the report has all."""
    lines = [*scores.ahead, *_columns(scores.rows, scores.measures)]
    if scores.timed:
        lines += ["", *_columns(scores.timed, scores.measures)]
    return [*lines, *(f"- {note}" for note in scores.notes)]


def _columns(rows: Mapping[str, Mapping[str, Interval]], measures: Sequence[Measure]) -> list[str]:
    shown = [m for m in measures if any(m.name in cells for cells in rows.values())][:6]
    wide = [max(9, len(m.name)) + 2 for m in shown]
    left = max(map(len, rows)) + 1
    lines = [" " * left + "".join(f"{m.name:>{w}}" for m, w in zip(shown, wide, strict=True))]
    for row, cells in rows.items():
        values = [_cell(cells.get(m.name), m.name, m.digits) for m in shown]
        lines.append(f"{row:<{left}}" + "".join(f"{v:>{w}}" for v, w in zip(values, wide, strict=True)))
    return lines


def _cell(value: Interval | None, name: str, digits: int) -> str:
    if value is None or math.isnan(value.value) or (name == "MB" and value.value == 0):
        return "–"
    return short(value.value, digits)
