"""``redraft data list | check DIR``."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="What data there are, and whether a folder is fit to train on.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """The embedded data, and what else can be had, from where, under which terms."""
    from redraft.app.check import catalogue_lines

    for line in catalogue_lines():
        typer.echo(line)


@app.command()
def check(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="A folder of pictures, or an embedded set's name.")
    ],
    direction: Annotated[
        str | None, typer.Option(help="Which side is given and which is wanted, as GIVEN:WANTED.")
    ] = None,
) -> None:
    """What the folder is, what is wrong with it, which methods suit; status 1 when training would fail."""
    from redraft.app.check import check_lines

    lines, fatal = check_lines(folder, direction)
    for line in lines:
        typer.echo(line)
    if fatal:
        raise typer.Exit(1)
