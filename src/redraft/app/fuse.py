"""Join two experts by a flow."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from redraft.app.refuse import refuse_empty
from redraft.app.train import train


def fuse(
    data: str,
    *,
    given: str | None,
    wanted: str,
    task: str | None = None,
    settings: Iterable[str] = (),
    **options: Any,
) -> Path:
    """Train a fusion of the experts ``given`` and ``wanted``; the run.

    ``given`` is None where the condition is taken as it is, or the usual encoder reads captions.
    ``options`` are those of ``train``. With a text expert the task is text, unless another is named.
    """
    refuse_empty(**{"from": given, "to": wanted})
    if given is not None and given.startswith("text:") and task is None:
        task = "text"
    named = [f"target.latent={wanted}", *([] if given is None else [f"condition.expert={given}"])]
    return train(data, method="fusion", task=task, settings=[*named, *settings], **options)
