"""Options that several verbs have in common."""

from __future__ import annotations

from typing import Annotated

import typer

Data = Annotated[str, typer.Argument(metavar="DATA", help="A folder of pictures, or an embedded set's name.")]
Size = Annotated[int | None, typer.Option(help="Side of the pictures in pixels.")]
Steps = Annotated[int | None, typer.Option(help="How many training steps.")]
Minutes = Annotated[float | None, typer.Option(help="How long to train instead.")]
Out = Annotated[str | None, typer.Option(help="The run's folder.")]
Seed = Annotated[int, typer.Option(help="Of networks, order and noise.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
Direction = Annotated[
    str | None, typer.Option(help="Which side is given and which is wanted, as GIVEN:WANTED.")
]
Temperature = Annotated[
    float | None, typer.Option(help="A fusion: of its noise; below 1 calmer pictures, 1 as in training.")
]
Drafts = Annotated[
    str | None,
    typer.Option(metavar="RUN", help="piti, diffusion: begin at this run's pictures, of any method."),
]
Level = Annotated[
    float | None,
    typer.Option(help="With --drafts: share of noise that they get, above 0 to 1. [default: 0.5]"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; may be repeated.")
]
