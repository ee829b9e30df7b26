"""Sentences in another language than the one that reads them."""

from __future__ import annotations

from collections.abc import Sequence

from redraft.core.sentences import cut, tidy
from redraft.nets.experts.expert import Expert

MANY = 0.4  # share of unknown words from which sentences are taken to be in another language
MOST = 2000  # sentences that are looked at


def unknown_words(expert: Expert | None, sentences: Sequence[str]) -> str | None:
    """A warning where an expert does not know most words of sentences, with one of them; None elsewhere."""
    if expert is None or not sentences:
        return None
    some = list(dict.fromkeys(sentences))
    some = some[:: -(-len(some) // MOST)]
    share = expert.foreign(some)
    if share <= MANY:
        return None
    worst = max(some[:100], key=lambda text: expert.foreign([text]))
    return (
        f"warning: {share:.0%} of the words are none that {expert.name} knows, such as those of "
        f"{cut(tidy(worst)).decode()[:60]!r}: if they are not in its language, it cannot tell what they mean."
    )
