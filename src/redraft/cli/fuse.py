"""``redraft fuse DATA --from EXPERT --to EXPERT``."""

from __future__ import annotations

from typing import Annotated

import typer


def fuse(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A folder of pictures, or an embedded set's name.")
    ],
    given: Annotated[
        str | None,
        typer.Option("--from", metavar="EXPERT", help="What reads the condition: text:minilm, ..."),
    ] = None,
    wanted: Annotated[
        str, typer.Option("--to", metavar="EXPERT", help="The autoencoder that makes the pictures.")
    ] = "image:taef2",
    task: Annotated[
        str | None,
        typer.Option(help="What is given: text, category, labels, edges, ... (with text:..., text)."),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Side of the pictures in pixels.")] = None,
    steps: Annotated[int | None, typer.Option(help="How many training steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="How long to train instead.")] = None,
    out: Annotated[str | None, typer.Option(help="The run's folder.")] = None,
    seed: Annotated[int, typer.Option(help="Of networks, order and noise.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    direction: Annotated[
        str | None, typer.Option(help="Which side is given and which is wanted, as GIVEN:WANTED.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; may be repeated."),
    ] = None,
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
