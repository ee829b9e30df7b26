"""What a PNG says of itself, enough to make it again; and what it is called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch

from redraft import __version__

IN_MEMORY = "a picture in memory"


def about_condition(condition: object) -> dict[str, str]:
    """What was given: a word, a file with its hash, or something that only the caller has."""
    if condition is None:
        return {}
    if not isinstance(condition, (str, Path)):
        return {"condition": IN_MEMORY, "condition_sha256": ""}
    file = Path(condition)
    if not is_file(condition):
        return {"condition": plain(str(condition))}
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"condition": plain(str(file.resolve())), "condition_sha256": digest}


def about_versions() -> dict[str, str]:
    return {"software": f"redraft {__version__}", "torch": torch.__version__}


def is_file(word: str | Path) -> bool:
    """Whether there is such a file; a sentence may be no possible name of one."""
    try:
        return Path(word).is_file()
    except (OSError, ValueError):
        return False


def plain(text: str) -> str:
    """Text that UTF-8 can hold, whatever bytes a file's name has."""
    return text.encode("utf-8", "backslashreplace").decode()


def stem(condition: object) -> str:
    """What files made from a condition are called."""
    if not isinstance(condition, (str, Path)):
        return "picture"
    name = Path(condition).stem if is_file(condition) else str(condition)
    return "".join(ch if ch.isalnum() or ch in "-_" else "-" for ch in plain(name))[:80] or "picture"


def distinct(names: Iterable[str]) -> list[str]:
    """The names, numbered from the second of a kind on; upper and lower case are the same to some disks."""
    taken: set[str] = set()
    made = []
    for name in names:
        free, number = name, 2
        while free.lower() in taken:
            free, number = f"{name}-{number}", number + 1
        taken.add(free.lower())
        made.append(free)
    return made
