"""Which method does which task, and why not where it does not."""

from __future__ import annotations

from redraft.core.errors import UsageError, unknown
from redraft.methods import METHODS
from redraft.tasks import TASKS, Task

NO_PICTURE = ("none", "category", "text")  # tasks that do not start from a picture


def why_not(method: str, task: str) -> str | None:
    """The reason why this cell of method x task is empty, with what comes nearest; None when it works."""
    if method == "autoencoder" and task != "none":
        return "an autoencoder learns pictures alone (task none); other methods then work in its latent space"
    if method == "diffusion" and task not in ("none", "category"):
        return "a diffusion model here learns pictures alone or of categories (tasks none, category)"
    if method == "piti" and task in NO_PICTURE:
        return "PITI starts from a picture; diffusion makes pictures of nothing or of a category"
    if method == "coopnets" and task != "none":
        return "CoopNets has no condition; ccoopnets is the same algorithm with one"
    if method == "ccoopnets" and task == "none":
        return "CCoopNets needs a condition; coopnets is the same algorithm without one"
    if method == "gan" and task not in NO_PICTURE:
        return (
            "gan here starts from noise, a category or words; pix2pix is the GAN that starts from a picture"
        )
    if method == "pix2pix" and task in NO_PICTURE:
        return "pix2pix starts from a picture; gan is the same contest without one"
    if method == "cut" and task in NO_PICTURE:
        return "CUT translates pictures; gan makes them from nothing, a category or words"
    if method == "cut" and task != "unpaired":
        return "CUT learns from two sides without pairs (task unpaired); pix2pix makes use of pairs"
    if method in ("ccoopnets", "pix2pix", "piti") and task == "unpaired":
        return f"{method} learns from pairs, which two unrelated sides are not; cut needs none"
    return None


def method_for(task: str, wanted: str | None) -> str:
    """The method to use for a task: the wanted one if it fits, else the first that does."""
    if wanted is None:
        return next(name for name in METHODS if why_not(name, task) is None)
    if wanted not in METHODS:
        raise unknown("method", wanted, METHODS)
    reason = why_not(wanted, task)
    if reason:
        raise UsageError(f"Method {wanted} cannot do task {task}: {reason}.")
    return wanted


def only_task(method: str | None) -> str | None:
    """The task of a method that does a single one; None for others."""
    able = [task for task in TASKS if method in METHODS and why_not(str(method), task) is None]
    return able[0] if len(able) == 1 else None


def adversarial_for(task: Task) -> str:
    """The adversarial method that ``coopinit`` initialises for a task."""
    name = next(name for name, cls in TASKS.items() if cls is type(task))
    return next(m for m in ("gan", "pix2pix", "cut") if why_not(m, name) is None)


def matrix() -> dict[str, dict[str, str | None]]:
    """method -> task -> None (works) or the reason why not."""
    return {m: {t: why_not(m, t) for t in TASKS} for m in METHODS}
