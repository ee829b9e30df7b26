"""``redraft train DATA``."""

from __future__ import annotations

from typing import Annotated

import typer


def train(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A folder of pictures, or an embedded set's name.")
    ],
    task: Annotated[str | None, typer.Option(help="What is given: none, category, text, labels, ...")] = None,
    method: Annotated[
        str | None, typer.Option(help="ccoopnets, gan, pix2pix, fusion, ...; see `redraft methods`.")
    ] = None,
    initializer: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="For method solver: a run or model, an ONNX file, or a latest_net_G.pth, which it refines.",
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="modern, or classic: the papers' own settings.")] = "modern",
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
    """Train a method on your pictures, by itself the one that suits; the run's folder holds everything."""
    from redraft.app.train import train as run

    run(
        data,
        task=task,
        method=method,
        initializer=initializer,
        recipe=recipe,
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
