"""``redraft train DATA``."""

from __future__ import annotations

from typing import Annotated

import typer

from redraft.cli.options import Data, Device, Direction, Minutes, Out, Resume, Seed, Settings, Size, Steps

Prior = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="For method piti: a run of method diffusion, or a diffusers model (folder or hub name).",
    ),
]


def train(
    data: Data,
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
    prior: Prior = None,
    recipe: Annotated[str, typer.Option(help="modern, or classic: the papers' own settings.")] = "modern",
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
    """Train a method on your pictures, by itself the one that suits; the run's folder holds everything."""
    from redraft.app.train import train as run

    run(
        data,
        task=task,
        method=method,
        initializer=initializer,
        prior=prior,
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
