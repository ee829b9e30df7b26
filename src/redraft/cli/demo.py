"""``redraft demo``."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 4.0,
    out: Annotated[
        str, typer.Option(help="The run's folder; a number is added where it exists.")
    ] = "runs/demo",
    seed: Annotated[int, typer.Option(help="Of networks, order and noise.")] = 0,
) -> None:
    """Train on the embedded pictures for a few minutes, make pictures, judge them, write a report."""
    from redraft.app.demo import demo as show

    show(minutes=minutes, out=out, seed=seed)
