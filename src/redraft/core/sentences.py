"""What a sentence is, wherever it comes from: a caption beside a picture, or words that a user types."""

from __future__ import annotations

import unicodedata

LENGTH = 256  # bytes of UTF-8 that are kept of a sentence


def tidy(text: str) -> str:
    """One line in Unicode's composed form (NFC), blanks squeezed, without control characters."""
    kept = "".join(c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cs"))
    return " ".join(unicodedata.normalize("NFC", kept).split())


def cut(text: str) -> bytes:
    """A tidy text as UTF-8, at most ``LENGTH`` bytes, cut between two characters."""
    return text.encode()[:LENGTH].decode("utf-8", "ignore").rstrip().encode()
