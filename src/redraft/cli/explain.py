"""``redraft explain FILE.png``."""

from __future__ import annotations

from typing import Annotated

import typer


def explain(
    picture: Annotated[str, typer.Argument(metavar="FILE.png", help="A picture that Redraft made.")],
    model: Annotated[str | None, typer.Option(help="The model, if it is no longer where it was.")] = None,
    condition: Annotated[str | None, typer.Option(help="The condition, if it has moved.")] = None,
    drafts: Annotated[
        str | None, typer.Option(help="The model of its draft, if it is no longer where it was.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="A new file for the replayed picture.")] = None,
) -> None:
    """How a picture was made; makes it again and compares the pixels. Status 1 when they differ."""
    from redraft.app.explain import explain as replay

    if not replay(picture, model=model, condition=condition, drafts=drafts, out=out):
        raise typer.Exit(1)
