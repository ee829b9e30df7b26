"""Make pictures from a trained model and write them, each with the story of how it was made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from redraft.app.drafting import LEVEL, refuse_level
from redraft.app.language import unknown_words
from redraft.app.made import Made
from redraft.app.model import Model, refuse_counts
from redraft.app.refuse import refuse_empty, refuse_seed, refuse_steps
from redraft.app.show import one_first, say, write_trace
from redraft.app.story import distinct, stem
from redraft.app.told import why_unscored
from redraft.core import images
from redraft.core.errors import DataError, UsageError
from redraft.methods.denoising import Denoising
from redraft.training.processes import barrier, gather_rows, processes, rank, world

PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"}
MANY = 12  # pictures beyond which one line tells of all


def generate(
    model: str,
    conditions: Sequence[str],
    *,
    out: str,
    variants: int = 1,
    refine: int | None = None,
    best_of: int | None = None,
    seed: int = 0,
    trace: bool = False,
    bits: int = 8,
    like: str | None = None,
    like_is: str | None = None,
    strength: float | None = None,
    temperature: float | None = None,
    drafts: str | None = None,
    level: float | None = None,
    device: str = "auto",
) -> list[Path]:
    """Write one PNG for each condition and variant into the new folder ``out``; the paths, in order.

    With ``like``, a picture, each in its manner (``Model.like``), one a condition. With ``drafts``, a run,
    pictures begin at its pictures (``Model.draft_by``).
    """
    if bits not in (8, 16):
        raise UsageError(f"--bits is 8 or 16, not {bits}.")
    refuse_empty(MODEL=model, out=out, drafts=drafts)
    refuse_seed(seed)
    refuse_counts(variants, best_of, refine)
    _refuse_like(like, like_is, strength, variants, refine, best_of, trace)
    _refuse_drafts(drafts, level, like, trace)
    begun = time.monotonic()
    maker = Model.from_pretrained(model, device)
    refuse_steps(maker.run, refine)
    if temperature is not None:
        maker.temper(temperature)
    if drafts is not None:
        drafted = maker.draft_by(drafts, LEVEL if level is None else level)
        say(f"Drafts {drafted.says}.")
    refuse_blank(conditions)
    pictures = maker.task.spec.condition in ("picture", "none")  # elsewhere a folder's name is a word
    words, unread = readable(maker, expand(conditions) if pictures else list(conditions), seed)
    asked: list[str | None] = [*words] or [None]
    if words or not unread:
        maker.read(words[:1] or None, seed)  # refuses a model that wants none, or one
    with processes(maker.device):
        one_first(lambda: new_folder(out))
        paths = _paths(Path(out), asked, variants)
        if maker.task.spec.condition == "sentence" and (odd := unknown_words(maker.bridge.condition, words)):
            say(odd)
        for sentence in unread[:MANY]:
            say(f"Left out: {sentence}")
        if len(unread) > MANY:
            say(f"... and {len(unread) - MANY} more like these.")
        _tell_size(maker, words)
        scores, alike = [], variants > 1
        for word, files in list(zip(asked, paths, strict=True))[rank() :: world()]:
            if like is None:
                made = maker(word, variants=variants, refine=refine, best_of=best_of, seed=seed, trace=trace)
            else:
                made = maker.like(
                    word, like, like_is, strength=1.0 if strength is None else strength, seed=seed
                )
            _write(made, files, bits, trace)
            alike = alike and bool((made.images == made.images[:1]).all())
            # beyond each of a handful of held-out conditions lie many that are nothing unusual
            known = made.novelty if maker.calibration.reliable else None
            novelty = torch.full_like(made.percentiles, -1) if known is None else known
            scores.append(torch.stack([made.percentiles, novelty]))
        mine = torch.stack(scores) if scores else torch.zeros(0, 2, variants)
        scored = gather_rows(mine.to(maker.device), len(asked)).cpu()
        unscored = why_unscored(maker.run, maker.about)
        _tell(paths, asked, scored, time.monotonic() - begun, "" if unscored else _judged(maker))
        if unscored:
            say(unscored)
        if alike:
            say("The variants are alike: this model makes one picture of a condition, whatever the noise.")
        barrier()
    if unread:
        raise DataError(
            f"{len(unread)} of {len(unread) + len(words)} conditions could not be read; see above."
        )
    return [path for files in paths for path in files]


def _refuse_like(
    like: str | None, like_is: str | None, strength: float | None, variants: int, *others: object
) -> None:
    """Refuse what does not go with an exemplar, or is for one alone."""
    if like is None and (like_is is not None or strength is not None):
        raise UsageError("--like-is and --strength are about an exemplar: name it with --like PICTURE.")
    if like is None:
        return
    if not Path(like).is_file():
        raise UsageError(f"There is no file {like}.")
    if variants > 1 or any(others):
        raise UsageError(
            "--like makes one picture a condition; leave --variants, --refine, --best-of, --trace out."
        )
    if strength is not None and not 0 <= strength <= 2:
        raise UsageError(f"--strength lies between 0 and 2, not {strength}.")


def _refuse_drafts(drafts: str | None, level: float | None, like: str | None, trace: bool) -> None:
    """Refuse a level without drafts, and what does not go with another model's drafts."""
    refuse_level(drafts, level)
    if drafts is not None and (like is not None or trace):
        raise UsageError("--drafts goes with neither --like nor --trace; leave one of them out.")


def readable(maker: Model, words: list[str], seed: int) -> tuple[list[str], list[str]]:
    """The conditions that can be read, and sentences on those that cannot; refuses when none can."""
    good, unread = [], []
    for word in words:
        if maker.task.spec.condition == "picture" and not Path(word).exists():
            raise UsageError(f"There is no file {word}.")
        try:
            maker.read(word, seed)
            good.append(word)
        except DataError as error:
            unread.append(str(error))
    if unread and not good:
        raise DataError(unread[0])
    return good, unread


def refuse_blank(conditions: Sequence[str]) -> None:
    """Refuse "" as a condition: as a path it would be the folder that one is in."""
    if not all(word.strip() for word in conditions):
        raise UsageError("A condition is empty; give words or a picture, or leave it out.")


def _paths(folder: Path, asked: list[str | None], variants: int) -> list[list[Path]]:
    """The files of each condition, no two alike; a function of all conditions, in every process the same."""
    stems = distinct(map(stem, asked))
    if variants == 1:
        return [[folder / f"{name}.png"] for name in stems]
    return [[folder / f"{name}-{i}.png" for i in range(variants)] for name in stems]


def _write(made: Made, files: list[Path], bits: int, trace: bool) -> None:
    for i, path in enumerate(files):
        if path.exists():
            raise UsageError(f"{path} exists already; give another --out.")
        images.write(made.images[i], path, {f"redraft:{k}": v for k, v in made.stories[i].items()}, bits=bits)
        if trace:
            write_trace(made, i, path.with_suffix(""))


def expand(conditions: Sequence[str]) -> list[str]:
    """Folders become the pictures in them, sorted; words and files stay."""
    words: list[str] = []
    for given in conditions:
        if Path(given).is_dir():
            inside = sorted(p for p in Path(given).iterdir() if p.suffix.lower() in PICTURES)
            if not inside:
                raise DataError(f"The folder {given} holds no pictures to start from.")
            words += map(str, inside)
        else:
            words.append(given)
    return words


def new_folder(out: str) -> Path:
    """An empty folder to write into; one with something in it is never written over."""
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{out} exists already and is not empty; give another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _tell_size(maker: Model, words: list[str]) -> None:
    """Once for all inputs: what is not seen of them, and how large the pictures are."""
    if maker.task.spec.condition != "picture" or not words:
        return
    sizes = []
    for word in words:
        with images.opened(word) as picture:
            sizes.append(picture.size)
    cut, size = sum(w != h for w, h in sizes), maker.task.spec.size
    if cut:
        say(f"{cut} of {len(sizes)} inputs are cut to their middle square; all pictures have {size} px.")
    elif any(w != size for w, _ in sizes):
        say(f"All pictures are made at {size} px, whatever the size of the input.")


def _judged(maker: Model) -> str:
    judge = "the solver" if maker.run.solver_steps else "the model"
    judge = "its denoiser" if isinstance(maker.run.method, Denoising) else judge
    than = "of its generator's draws" if maker.run.target.draws else "of real held-out pictures"
    return f"{than}, says {judge}"


def _tell(
    paths: list[list[Path]], asked: list[str | None], scores: Tensor, seconds: float, judged: str
) -> None:
    """A line a picture, or one for many; scores [conditions, 2, variants]: percentiles, novelty.

    ``judged``: better than what, and who says so; "" where nobody can.
    """
    count = sum(map(len, paths))
    if count > MANY:
        median = f" The median one is better than {float(scores[:, 0].median()):.0f} % {judged}."
        say(f"{count} pictures in {paths[0][0].parent}, {seconds:.0f} s.{median if judged else ''}")
    for word, files, (percentiles, novelty) in zip(asked, paths, scores, strict=True):
        if count <= MANY:
            for path, share in zip(files, percentiles.tolist(), strict=True):
                say(f"{path}  better than {share:.0f} % {judged}" if judged else str(path))
        if float(novelty.max()) > 99:
            say(
                f"  caution: {word} is unlike anything that the model was trained on; do not trust its score."
            )


def same_pixels(a: Tensor, b: Tensor) -> tuple[int, int]:
    """How many pixels differ between two uint8 or uint16 pictures, and by how much at most."""
    gap = (a.int() - b.int()).abs()
    return int((gap.amax(-1) > 0).sum()), int(gap.max())
