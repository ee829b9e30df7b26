"""``redraft fuse DATA --from EXPERT --to EXPERT``."""

from __future__ import annotations

from typing import Annotated

import typer

from redraft.cli.options import Data, Device, Direction, Minutes, Out, Resume, Seed, Settings, Size, Steps


def fuse(
    data: Data,
    given: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="EXPERT", help="What reads the condition; text:minilm where there are captions."
        ),
    ] = None,
    wanted: Annotated[
        str, typer.Option("--to", metavar="EXPERT", help="The autoencoder that makes the pictures.")
    ] = "image:taef2",
    task: Annotated[
        str | None,
        typer.Option(help="What is given: text (the usual one with captions), category, labels, ..."),
    ] = None,
    size: Size = None,
    steps: Steps = None,
    minutes: Minutes = None,
    out: Out = None,
    seed: Seed = 0,
    resume: Resume = False,
    direction: Direction = None,
    device: Device = "auto",
    settings: Settings = None,
) -> None:
    """Join two experts by a flow: `redraft train --method fusion` with both ends named."""
    from redraft.app.fuse import fuse as run

    run(
        data,
        given=given,
        wanted=wanted,
        task=task,
        size=size,
        steps=steps,
        minutes=minutes,
        out=out,
        seed=seed,
        resume=resume,
        direction=direction,
        device=device,
        settings=settings or (),
    )
