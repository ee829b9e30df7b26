"""``redraft compare DATA --methods A,B`` and ``redraft compare RUN RUN ... --data DATA``."""

from __future__ import annotations

from typing import Annotated

import typer

from redraft.cli.train import Prior


def compare(
    places: Annotated[
        list[str],
        typer.Argument(metavar="DATA | RUN RUN ...", help="One folder of pictures, or finished runs."),
    ],
    methods: Annotated[
        str | None,
        typer.Option(help="To be trained: ccoopnets,pix2pix,... A variant is NAME=METHOD; see --set."),
    ] = None,
    prior: Prior = None,
    data: Annotated[str | None, typer.Option(help="The pictures that finished runs are judged on.")] = None,
    task: Annotated[
        str | None, typer.Option(help="What is given: none, category, labels, edges, ...")
    ] = None,
    recipe: Annotated[str, typer.Option(help="modern, or classic: the papers' own settings.")] = "modern",
    size: Annotated[int | None, typer.Option(help="Side of the pictures in pixels.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Each training's time; default 10.")] = None,
    steps: Annotated[int | None, typer.Option(help="Each training's steps instead.")] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each method.")] = 3,
    out: Annotated[str | None, typer.Option(help="Folder of the trainings and the report.")] = None,
    pictures: Annotated[int, typer.Option(help="At most so many held-out pictures.")] = 1000,
    features: Annotated[
        str, typer.Option(help="Features of KID and Frechet: small, judge, efficientnet, inception.")
    ] = "small",
    direction: Annotated[
        str | None, typer.Option(help="Which side is given and which is wanted, as GIVEN:WANTED.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="[NAME.]KEY=VALUE", help="A setting, for all or for one method."),
    ] = None,
) -> None:
    """Train methods within the same budget, judge them alike, write one report to decide from.

    The same line goes on where it stopped.
    """
    from redraft.app.compare import compare as judge

    judge(
        places,
        methods=methods,
        prior=prior,
        data=data,
        task=task,
        recipe=recipe,
        size=size,
        minutes=minutes,
        steps=steps,
        seeds=seeds,
        out=out,
        pictures=pictures,
        features=features,
        direction=direction,
        device=device,
        settings=settings or (),
    )
