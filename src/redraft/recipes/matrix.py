"""Which method does which task, and why not where it does not."""

from __future__ import annotations

from redraft.core.errors import UsageError, unknown
from redraft.methods import METHODS
from redraft.tasks import TASKS


def why_not(method: str, task: str) -> str | None:
    """The reason why this cell of method x task is empty, with what comes nearest; None when it works."""
    if method == "coopnets" and task != "none":
        return "CoopNets has no condition; ccoopnets is the same algorithm with one"
    if method == "ccoopnets" and task == "none":
        return "CCoopNets needs a condition; coopnets is the same algorithm without one"
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


def matrix() -> dict[str, dict[str, str | None]]:
    """method -> task -> None (works) or the reason why not."""
    return {m: {t: why_not(m, t) for t in TASKS} for m in METHODS}
