"""``redraft generate MODEL [CONDITION ...] --out DIR``."""

from __future__ import annotations

from typing import Annotated

import typer

from redraft.cli import options


def generate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run or a model folder.")],
    out: Annotated[str, typer.Option(help="A new folder for the pictures.")],
    conditions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONDITION ...]", help="Words, pictures, or folders of pictures."),
    ] = None,
    variants: Annotated[int, typer.Option(help="Different pictures for each condition.")] = 1,
    refine: Annotated[
        int | None, typer.Option(help="Solver steps; 0 = the draft alone, default as in training.")
    ] = None,
    best_of: Annotated[int | None, typer.Option(help="Make so many, keep the best by score.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    trace: Annotated[
        bool, typer.Option("--trace", help="Also what the solver did: film, map, curve.")
    ] = False,
    like: Annotated[
        str | None, typer.Option(metavar="PICTURE", help="A fusion: in the manner of this picture.")
    ] = None,
    like_is: Annotated[
        str | None, typer.Option(metavar="CONDITION", help="What that picture shows: its own condition.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="With --like: 0 = that picture as the model sees it, 1 = the condition's."),
    ] = None,
    temperature: options.Temperature = None,
    drafts: options.Drafts = None,
    level: options.Level = None,
    bits: Annotated[int, typer.Option(help="8 or 16 bits a channel.")] = 8,
    device: options.Device = "auto",
) -> None:
    """Make pictures; each PNG carries its model, seed, steps and score."""
    from redraft.app.generate import generate as make

    make(
        model,
        conditions or [],
        out=out,
        variants=variants,
        refine=refine,
        best_of=best_of,
        seed=seed,
        trace=trace,
        bits=bits,
        like=like,
        like_is=like_is,
        strength=strength,
        temperature=temperature,
        drafts=drafts,
        level=level,
        device=device,
    )
