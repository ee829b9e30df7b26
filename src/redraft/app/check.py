"""What data there are, whether a folder is fit to train on, and what can be done with it."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path

from redraft.core.errors import UsageError
from redraft.data import Folder, catalogue, embedded, embedded_names, recognise
from redraft.data.captions import has_caption
from redraft.data.check import check

GIVEN = {
    "none": "nothing: new pictures like those of the folder",
    "category": "a category's name, from a folder of folders",
    "text": "words: each picture has a caption, or its category's name",
    "labels": "a label map: each pixel's colour or number says what is there",
    "edges": "a line drawing; without drawings, the pictures' own edges",
    "pairs": "a picture: each has its counterpart in the other folder",
    "unpaired": "a picture of one folder; those of the other are no counterparts of it",
    "recover": "a picture with a hole; the holes are cut in training",
    "upscale": "a small picture; the pictures are made small in training",
    "colour": "a grey picture; the pictures are made grey in training",
}  # by task


def open_folder(place: str, direction: str | None = None, seed: int = 0, *, unpaired: bool = False) -> Folder:
    """A folder of the user's, or an embedded set by its name (a folder of that name comes first).

    ``unpaired``: for that task, which needs no partners.
    """
    if not place.strip():
        raise UsageError("DATA is empty; name a folder of pictures.")
    if Path(place).exists():
        return recognise(place, direction=direction, seed=seed, unpaired=unpaired)
    if place in embedded_names():
        return embedded(place)
    names = ", ".join(embedded_names())
    raise UsageError(f"There is no folder {place}, and no embedded set of that name (known: {names}).")


def check_lines(place: str, direction: str | None) -> tuple[list[str], bool]:
    """The report on a folder as lines, and whether training would go wrong."""
    folder = open_folder(place, direction)
    report = check(folder)
    if report.fatal:
        return report.lines(), True
    task = suited(folder, None)
    way = f" --direction {shlex.quote(direction)}" if direction else ""
    line = f"redraft train {shlex.quote(place)} --task {task}{way}"
    words = f"From words to pictures: redraft fuse {shlex.quote(place)} --from text:minilm --to image:taef2"
    spoken = [words] if speaks(folder) else []
    lines = [*report.lines(), *spoken, f"Without --task, train takes: {task}. To train: {line}"]
    able = [
        name for name, why in _why_not(task).items() if why is None and name not in ("solver", "autoencoder")
    ]
    if len(able) > 1:
        lines.append(
            f"For {task}, --method is {', '.join(able[:-1])} or {able[-1]} (without it {able[0]}). Which is "
            f"better here: redraft compare {shlex.quote(place)} --methods {','.join(able)}{way}"
        )
    if not spoken and (folder.has_captions or folder.categories):
        lines.append(f"{words} --task text")
    if task == "category" and len(folder.categories) == 2:
        a, b = map(shlex.quote, folder.categories)
        lines.append(f"To turn pictures of one folder into such of the other: --direction {a}:{b} or {b}:{a}")
    return lines, False


def _why_not(task: str) -> dict[str, str | None]:
    from redraft.recipes.matrix import matrix

    return {method: row[task] for method, row in matrix().items()}


def instead(folder: Folder, method: str) -> str:
    """For a method that cannot do what the folder is for: the tasks that suit both, or why none does."""
    from redraft.recipes.matrix import matrix
    from redraft.tasks import TASKS

    row = matrix().get(method, {})
    able = [task for task, why in row.items() if why is None]
    fit = [task for task in able if not TASKS[task].misfit(folder)]
    if fit:
        return f" This folder suits {method} with --task {', '.join(fit)}."
    return "".join(
        f" The folder {folder.root} does not suit --task {task}: {TASKS[task].misfit(folder)}."
        for task in able[:1]
    )


def catalogue_lines() -> list[str]:
    """The data that come with the package, and others with their terms."""
    lines = []
    for entry in catalogue():
        lines.append(f"{entry.name:<22} {entry.what}")
        if entry.name in embedded_names():
            lines.append(f"{'':<22} to train: redraft train {entry.name}")
        lines += textwrap.wrap(
            f"from {entry.where}; terms: {entry.terms}",
            100,
            initial_indent=" " * 23,
            subsequent_indent=" " * 23,
        )
    return lines


def matrix_lines() -> list[str]:
    """method x task, with the reason for each empty cell below."""
    from redraft.recipes.matrix import matrix

    cells = matrix()
    tasks = list(next(iter(cells.values())))
    lines = [" " * 12 + "".join(f"{task:>10}" for task in tasks)]
    notes: dict[str, None] = {}
    for method, row in cells.items():
        lines.append(f"{method:<12}" + "".join(f"{'yes' if row[t] is None else '-':>10}" for t in tasks))
        notes |= dict.fromkeys(f"{method} -: {reason}." for reason in row.values() if reason)
    given = [f"{name:<12}{what}" for name, what in GIVEN.items()]
    return [*lines, "", "What is given:", *given, "", *notes]


def speaks(folder: Folder) -> bool:
    """Whether words are what a folder's pictures come with: most have captions, and none a partner."""
    told = sum(map(has_caption, folder.examples["train"]))
    return folder.condition_kind == "none" and 2 * told > len(folder.examples["train"])


def suited(folder: Folder, task: str | None) -> str:
    """The task to train: the wanted one if the folder suits it, else what the folder is for."""
    from redraft.core.errors import unknown
    from redraft.tasks import TASKS

    if task is None and folder.unpaired:
        return "unpaired"
    if task is None:
        kinds = {"labels": "labels", "picture": "edges" if folder.condition_channels == 1 else "pairs"}
        return kinds.get(folder.condition_kind) or ("category" if len(folder.categories) > 1 else "none")
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    reason = TASKS[task].misfit(folder)
    if reason:
        raise UsageError(f"The folder {folder.root} does not suit --task {task}: {reason}.")
    return task
