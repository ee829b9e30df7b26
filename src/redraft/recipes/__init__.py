"""(method, task, amount of data) -> Run: which networks, which settings, how long. Plain functions."""

from collections.abc import Callable

from redraft.recipes.classic import classic, fast
from redraft.recipes.modern import modern
from redraft.recipes.run import Run, build

RECIPES: dict[str, Callable[..., Run]] = {"modern": modern, "classic": classic, "fast": fast}

__all__ = ["RECIPES", "Run", "build", "classic", "fast", "modern"]
