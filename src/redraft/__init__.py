"""Redraft: networks that cooperate. One drafts a picture in a single pass, another revises it by search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redraft.app.model import Made, Model

__version__ = "0.1.0"
__all__ = ["Made", "Model", "__version__"]


def __getattr__(name: str) -> Any:  # torch takes seconds to import; `redraft --help` must not wait for it
    if name in ("Model", "Made"):
        from redraft.app import model

        return getattr(model, name)
    raise AttributeError(f"module 'redraft' has no attribute {name!r}")
