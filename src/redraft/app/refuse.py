"""What is refused before anything is read, computed or written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from redraft.core.errors import UsageError
from redraft.methods.denoising import Denoising
from redraft.methods.diffusion import Diffusion
from redraft.methods.gan import Gan
from redraft.methods.piti import Piti
from redraft.methods.upsampler import Upsampling
from redraft.recipes.run import Run

SIZES = "28, or a multiple of 16 from 16 to 1024"
VECTORS = ("none", "category")  # tasks whose networks take 28 px


def refuse_empty(**words: str | None) -> None:
    """Refuse "" where a folder or a model is named."""
    for name, word in words.items():
        if word is not None and not word.strip():
            shown = name if name.isupper() else f"--{name}"
            raise UsageError(f"{shown} is empty; name a folder.")


def refuse_seed(seed: int) -> None:
    if not -(2**63) <= seed < 2**64:
        raise UsageError(f"--seed is a whole number of at most 64 bits, not {seed}.")


def refuse_size(size: int, task: str, key: str = "--size") -> None:
    """Refuse a side that the networks of a task cannot have."""
    if size != 28 and (size % 16 or not 16 <= size <= 1024):
        raise UsageError(f"{key} is {SIZES}, not {size}.")
    if size == 28 and task not in VECTORS:
        raise UsageError(f"{key} 28 is for tasks {' and '.join(VECTORS)}; use 32 for {task}.")


def refuse_length(steps: int | None, minutes: float | None) -> None:
    """Refuse a training that is no length, or two."""
    if steps is not None and minutes is not None:
        raise UsageError("Give --steps or --minutes, not both.")
    if steps is not None and not 1 <= steps <= 10**9:
        raise UsageError(f"--steps counts training steps, so it is at least 1 and at most 10^9, not {steps}.")
    if minutes is not None and not 0 < minutes < 1e7:
        raise UsageError(f"--minutes must be more than 0 and a finite number, not {minutes}.")


def refuse_settings(lines: Iterable[str]) -> list[str]:
    """The ``--set`` lines; refuses what is not section.key=value."""
    settings = list(lines)
    for line in settings:
        key, equals, _ = line.partition("=")
        if not equals or "." not in key.strip(". "):
            raise UsageError(f"--set takes key=value, for example train.batch=16, not {line!r}.")
    return settings


def refuse_experts(lines: Iterable[str]) -> None:
    """Refuse experts beside an initializer, which has learnt between its own."""
    for line in lines:
        if line.partition(".")[0].strip() in ("condition", "target"):
            raise UsageError(f"--set {line}: an initializer brings its own experts along; leave that out.")


def refuse_file(out: str | Path, what: str) -> None:
    if Path(out).exists() and not Path(out).is_dir():
        raise UsageError(f"{out} is a file; {what} needs a folder, so give another --out.")


def refuse_run(run: Run, processes: int) -> None:
    """Refuse settings that only together, or only for these processes, cannot be trained with."""
    spec, cfg = run.task.spec, run.train
    refuse_seed(run.seed)
    refuse_size(spec.size, run.task_name, "task.size")
    if spec.channels not in (1, 3):
        raise UsageError(f"task.channels is 1 (grey) or 3 (colour), not {spec.channels}.")
    if not 0 <= run.reading.margin <= spec.size:
        raise UsageError(
            f"reading.margin lies between 0 and the size, {spec.size}, not {run.reading.margin}."
        )
    if not 0 < run.reading.share <= 1:
        raise UsageError(
            f"reading.share is of the training pictures: above 0 and at most 1, not {run.reading.share:g}."
        )
    _refuse_small_latents(run)
    if run.reading.margin and (run.condition.expert or run.target.latent):
        raise UsageError(
            "reading.margin crops pictures anew in each epoch, and experts see each once and whole: leave "
            "it at 0."
        )
    if run.reading.flip and run.target.draws:
        raise UsageError(
            "reading.flip mirrors pictures, and what the generator would draw a mirrored one of is not "
            "known: leave it at false."
        )
    if run.method_name in ("coopnets", "ccoopnets", "solver") and run.solver_steps < 1:
        raise UsageError(
            "method.langevin.steps is at least 1 in training; drafts alone: generate --refine 0."
        )
    _refuse_idle(run)
    larger = run.method.upsampler if isinstance(run.method, Piti.Config) else Upsampling()
    if cfg.shard and larger.factor > 1 and larger.adversarial and larger.gradient_penalty:
        raise UsageError(
            "train.shard does not go with penalties on a gradient: set method.upsampler.gradient_penalty=0, "
            "or leave train.shard at false."
        )
    penalties = [getattr(run.method, name, 0.0) for name in ("r1", "gradient_penalty")]
    if cfg.shard and any(penalties):
        raise UsageError(
            "train.shard does not go with penalties on a gradient: set method.r1=0 and "
            "method.gradient_penalty=0, or leave train.shard at false."
        )
    if cfg.shard and isinstance(run.method, Gan.Config) and run.method.ada:
        raise UsageError("train.shard does not go with method.ada: use method.diff_augment=true instead.")
    parts = processes * cfg.accumulate
    least = parts * (2 if run.method_name == "ccoopnets" else 1)
    if cfg.batch % parts or cfg.batch < least:
        near = max(least, round(cfg.batch / parts) * parts)
        raise UsageError(
            f"train.batch={cfg.batch} cannot be shared by {processes} processes in {cfg.accumulate} parts "
            f"of at least {least // parts} pictures; try --set train.batch={near}."
        )


def _refuse_idle(run: Run) -> None:
    """Refuse settings of diffusion that would do nothing here."""
    if isinstance(run.method, Diffusion.Config) and run.method.guidance and run.spec.condition == "none":
        raise UsageError(
            f"method.guidance={run.method.guidance:g} guides by a condition, of which task {run.task_name} "
            "has none: leave it at 0."
        )
    if run.networks.lora and not isinstance(run.method, Piti.Config):
        raise UsageError(
            f"networks.lora is for method piti, which begins with a prior; {run.method_name} learns all its "
            "weights: leave it at 0."
        )
    if run.prior.fresh and not isinstance(run.method, Piti.Config):
        raise UsageError(
            f"prior.fresh is for method piti; {run.method_name} begins with no prior: leave it at false."
        )
    if run.prior.fresh and run.networks.lora:
        raise UsageError(
            "prior.fresh=true leaves nothing for networks.lora to adapt: leave networks.lora at 0, so that "
            "all weights learn."
        )


def _refuse_small_latents(run: Run) -> None:
    """Refuse a latent that is too small for networks that see a picture beside it."""
    spec = run.spec
    if not run.target.latent or spec.condition != "picture" or run.networks.initializer == "foreign":
        return
    least = {"flow": 2 if run.method_name == "solver" else 1}.get(run.networks.initializer, 4)
    least = 8 if run.networks.solver == "patchgan" and run.method_name != "fusion" else least
    if spec.size < least:
        raise UsageError(
            f"{run.target.latent} makes {spec.size} x {spec.size} latents of {run.task.spec.size} px, and "
            f"{run.method_name} takes {least} x {least} or more where a picture is given: choose a larger "
            "--size, another target.latent, or --method fusion."
        )


def fitting_batch(run: Run, processes: int) -> Run:
    """The recipe's own batch, rounded down to what the processes can share."""
    if processes == 1:
        return run
    least = processes * (2 if run.method_name == "ccoopnets" else 1)
    return run.override([f"train.batch={max(least, run.train.batch // processes * processes)}"])


def refuse_steps(run: Run, refine: int | None) -> None:
    """Refuse more steps than the schedule of a diffusion model has: they would be as many as those."""
    if isinstance(run.method, Denoising) and refine is not None and refine > run.method.schedule.steps:
        most = run.method.schedule.steps
        raise UsageError(f"This diffusion model has {most} steps in all: give --refine {most} or fewer.")
