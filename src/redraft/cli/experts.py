"""``redraft experts``."""

from __future__ import annotations

import typer


def experts() -> None:
    """Pretrained networks to build on: by name, and whether they are on this machine."""
    from redraft.app.experts import lines

    for line in lines():
        typer.echo(line)
