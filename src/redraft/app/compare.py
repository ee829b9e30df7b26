"""Several methods on one folder, each with the same budget and judged alike; one report to decide from."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from redraft.app.alone import alone
from redraft.app.check import open_folder, suited
from redraft.app.compare_measure import Measured, Protocol, failure, measured, real_pictures
from redraft.app.compare_page import comparison
from redraft.app.compare_plan import FAILED, RESULT, Planned, entries, finished, refuse_other, trainings
from redraft.app.compare_prior import prior_for
from redraft.app.evaluate import questions, real_pairs, refuse_other_pictures
from redraft.app.model import Model
from redraft.app.refuse import refuse_empty, refuse_length
from redraft.app.show import say
from redraft.app.train import checked, fit_run, length
from redraft.core import images
from redraft.core.errors import Interrupted, OutOfSpace, RedraftError, UsageError, unknown
from redraft.data import Folder
from redraft.evaluation import comparison as report
from redraft.evaluation.features import FEATURES
from redraft.evaluation.lpips import Lpips
from redraft.recipes import RECIPES, Run
from redraft.training import pick_device
from redraft.training.processes import world

AGAIN = "Finished trainings are kept: to go on, give the same line again."


def compare(
    places: Sequence[str],
    *,
    methods: str | None = None,
    prior: str | None = None,
    data: str | None = None,
    task: str | None = None,
    recipe: str = "modern",
    size: int | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    seeds: int = 3,
    out: str | None = None,
    pictures: int = 1000,
    features: str = "small",
    direction: str | None = None,
    device: str = "auto",
    settings: Iterable[str] = (),
) -> Path:
    """Train ``methods`` on the one DATA of ``places``, or take the finished runs there; the report's path.

    ``prior`` is what trainings of method piti begin with.
    """
    refuse_empty(prior=prior)
    _refuse(places, methods, data, seeds, pictures, features, out, task, recipe)
    refuse_length(steps, minutes)
    where = pick_device(device)
    name = data or places[0]
    if methods is None:
        prior_for(prior, [], Path(), 0)
        planned, task = finished(places)
        folder = open_folder(name, direction, unpaired=task == "unpaired")
        for run in filter(None, (one.run for one in planned)):
            refuse_other_pictures(run, folder)
        place = Path(out or f"runs/compare-{Path(name).name}-{task}")
    else:
        wanted, common = entries(methods, settings)
        examined = checked(name, direction, unpaired=task == "unpaired")
        folder = examined.folder
        task = suited(folder, task)
        place = Path(out or f"runs/compare-{Path(name).name}-{task}")
        common = [*length(steps, minutes), *common]
        begins = prior_for(prior, wanted, place, seeds)
        planned = trainings(
            examined, wanted, common, begins, task=task, recipe=recipe, size=size, seeds=seeds, out=place
        )
    _refuse_measures(features, task)
    refuse_other(place, planned if methods else [], folder)
    try:
        with alone(place, "compare"):
            return _Sitting(folder, planned, place, where, pictures, features).go(train=methods is not None)
    except (Interrupted, KeyboardInterrupt):
        raise Interrupted(f"Stopped. {AGAIN}") from None


class _Sitting:
    """A comparison at work: trains what is not trained, measures what is not measured, writes the report."""

    def __init__(
        self,
        folder: Folder,
        planned: Sequence[Planned],
        out: Path,
        device: torch.device,
        pictures: int,
        features: str,
    ) -> None:
        self.folder, self.planned, self.out, self.device = folder, planned, out, device
        self.pictures, self.features = pictures, features
        self.protocol: Protocol | None = None
        self.done: list[Measured] = []

    def go(self, *, train: bool) -> Path:
        page = self.out / "index.html"
        each = [one.run.train.minutes for one in self.planned if one.run is not None]
        if train and each and None not in each:
            say(f"{len(each)} trainings, {sum(m or 0 for m in each):g} minutes in all, and then measuring.")
        for i, one in enumerate(self.planned):
            say(f"\n[{i + 1}/{len(self.planned)}] {one.entry.label}, seed {one.seed}")
            self.done.append(self._one(one, train))
            last_of_round = i + 1 == len(self.planned) or self.planned[i + 1].seed != one.seed
            if last_of_round:
                page = self._report()
        if all(one.failed for one in self.done):
            raise RedraftError(f"No method came to an end; {page} says why.")
        return page

    def _one(self, one: Planned, train: bool) -> Measured:
        """Train and measure; whatever fails is told and kept as a row, but for a stop and a full disk."""
        if one.run is None:
            say(one.why_not)
            return failure(one, one.why_not)
        try:
            if train:
                why = self._train(one, one.run)
                if why:
                    return failure(one, why)
            return measured(one, self._protocol(one), self.out / "measured")
        except Interrupted:
            raise
        except OutOfSpace:
            raise OutOfSpace(f"The disk of {self.out} is full: make room. {AGAIN}") from None
        except Exception as error:
            why = (str(error) or type(error).__name__).splitlines()[0]
            say(f"{one.entry.label}, seed {one.seed}, failed: {why}")
            if train:
                traces = "".join(traceback.format_exception(error))
                images.save(one.place / FAILED, f"{why}\n\n{traces}".encode())
            return failure(one, why)

    def _train(self, one: Planned, run: Run) -> str:
        """Train, or go on, unless that is done already; why it failed in an earlier sitting, or ""."""
        if (one.place / "model").is_dir():
            say("Trained already.")
            return ""
        if (one.place / FAILED).exists():
            why = (one.place / FAILED).read_text(encoding="utf-8").partition("\n")[0]
            say(f"Failed before: {why} (Remove {one.place} to try again.)")
            return why
        begun = (one.place / "run.yaml").exists()
        fit_run(self.folder, run, one.place, self.device, resume=begun, begins=one.begins)
        return ""

    def _protocol(self, one: Planned) -> Protocol:
        """The same for all; made with the first model that there is."""
        if self.protocol is None:
            model = Model.from_pretrained(one.place, str(self.device))
            known, held_out = real_pairs(model, self.folder, self.pictures, 0)
            asked = questions(model, known, held_out, self.features)
            self.protocol = Protocol(known=known, held_out=held_out, asked=asked, device=str(self.device))
            self.show = model.task.show
        return self.protocol

    def _report(self) -> Path:
        truth = any(m.scores is not None and m.scores.truth for m in self.done)
        real = real_pictures(self.protocol, self.show, truth) if self.protocol else {}
        title, facts = self._facts()
        page = comparison(title, facts, self.done, real)
        results = {
            "facts": facts,
            "advice": page.advice.kind,
            "says": page.advice.says,
            "runs": [run.to_dict() for run in self.done],
        }
        images.save(self.out / RESULT, json.dumps(results, indent=1).encode())
        file = report.write(page, self.out)
        for line in ("", page.advice.says, *(f"- {f.says}" for f in page.advice.reasons), f"Report: {file}"):
            say(line)
        return file

    def _facts(self) -> tuple[str, dict[str, str]]:
        runs = [p.run for p in self.planned if p.run is not None]
        task, seeds = runs[0].task, sorted({p.seed for p in self.planned})
        threads = torch.get_num_threads()
        name = self.folder.root.name or str(self.folder.root)
        facts = {
            "data": self.folder.understood,
            "task": runs[0].task_name,
            "size": f"{task.spec.size} px",
            "training of each": _budget(runs),
            "seeds": ", ".join(map(str, seeds)),
            "device": f"{self.device}, {threads} thread{'s' if threads > 1 else ''}",
        }
        return f"{runs[0].task_name}: {name}", facts


def _budget(runs: Sequence[Run]) -> str:
    lengths = {(run.train.minutes, run.train.steps) for run in runs}
    if len(lengths) > 1:
        return "not the same: see the table of training"
    minutes, steps = lengths.pop()
    return f"{minutes:g} minutes by the clock" if minutes else f"{steps} steps"


def _refuse(
    places: Sequence[str],
    methods: str | None,
    data: str | None,
    seeds: int,
    pictures: int,
    features: str,
    out: str | None,
    task: str | None,
    recipe: str,
) -> None:
    refuse_empty(DATA=places[0] if places else "", data=data, out=out)
    if methods is None:
        if len(places) == 1:
            raise UsageError(
                f"What should be compared on {places[0]}? Name methods, --methods ccoopnets,pix2pix; "
                "or give two or more finished runs and --data DATA."
            )
        if data is None:
            raise UsageError("Runs are compared on pictures: name their folder with --data DATA.")
    elif len(places) > 1 or data is not None:
        raise UsageError("--methods goes with one DATA and no runs: redraft compare DATA --methods A,B.")
    elif not methods.strip():
        raise UsageError("--methods is empty; name two or more: --methods ccoopnets,pix2pix.")
    if not 1 <= seeds <= 100:
        raise UsageError(f"--seeds counts the trainings of each method, so it is 1 to 100, not {seeds}.")
    if pictures < 2:
        raise UsageError(f"--pictures must be at least 2, not {pictures}.")
    if features not in (*FEATURES, "judge"):
        raise unknown("features", features, (*FEATURES, "judge"))
    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES)
    if world() > 1:
        raise UsageError("Trainings are compared one at a time: start redraft compare in one process.")


def _refuse_measures(features: str, task: str) -> None:
    """What measuring would miss is told before hours of training."""
    if features != "judge":
        FEATURES[features]()
    elif task != "category":
        raise UsageError("--features judge is for task category; use small or efficientnet.")
    Lpips.find()
