"""Every error that a user can cause, and nothing else.

    RedraftError                one clear sentence that says what to do; exit status 1
    ├── UsageError              the command or the settings are wrong; exit status 2
    │   └── Ambiguous           a question with its candidate answers
    ├── DataError               the pictures are not fit for what was asked
    ├── BundleError             a saved model cannot be used
    ├── CheckpointError         a saved training state cannot be used
    ├── OutOfSpace              the disk is full, or would be
    ├── Diverged                training failed and the watchdog has given up
    └── Interrupted             stopped by the user; everything was saved; exit status 130

Anything else that is raised is a programmer's error and is loud.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RedraftError(Exception):
    """A failure that the user can mend; its text is one sentence saying how."""

    exit_status = 1


class UsageError(RedraftError):
    exit_status = 2


class Ambiguous(UsageError):
    """More than one reading fits; ``candidates`` are the answers to choose from."""

    def __init__(self, question: str, candidates: Iterable[str]) -> None:
        self.candidates = tuple(candidates)
        super().__init__(f"{question} Candidates: {', '.join(self.candidates)}.")


class DataError(RedraftError):
    pass


class BundleError(RedraftError):
    pass


class CheckpointError(RedraftError):
    pass


class OutOfSpace(RedraftError):
    pass


class Diverged(RedraftError):
    pass


class Interrupted(RedraftError):
    exit_status = 130


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not known, with the nearest that is."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UsageError(f"There is no {kind} {name!r}; {hint}known: {', '.join(known)}.")
