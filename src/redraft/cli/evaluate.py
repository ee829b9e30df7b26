"""``redraft evaluate MODEL DATA``."""

from __future__ import annotations

from typing import Annotated

import typer

from redraft.cli import options


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run or a model folder.")],
    data: options.Data,
    out: Annotated[
        str | None, typer.Option(help="Folder of the report; default MODEL's run, report/.")
    ] = None,
    refine: Annotated[int | None, typer.Option(help="Solver steps; default as in training.")] = None,
    pictures: Annotated[int, typer.Option(help="At most so many held-out pictures.")] = 1000,
    features: Annotated[
        str, typer.Option(help="Features of KID and Frechet: small, judge, efficientnet, inception.")
    ] = "small",
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    direction: options.Direction = None,
    temperature: options.Temperature = None,
    drafts: options.Drafts = None,
    level: options.Level = None,
    device: options.Device = "auto",
) -> None:
    """Drafts and refined pictures against held-out truth, beside controls; writes a report."""
    from redraft.app.evaluate import evaluate as judge

    judge(
        model,
        data,
        out=out,
        refine=refine,
        pictures=pictures,
        features=features,
        seed=seed,
        direction=direction,
        temperature=temperature,
        drafts=drafts,
        level=level,
        device=device,
    )
