"""``redraft methods``."""

from __future__ import annotations

import typer


def methods() -> None:
    """Which method does which task, and why not where it does not."""
    from redraft.app.check import matrix_lines

    for line in matrix_lines():
        typer.echo(line)
