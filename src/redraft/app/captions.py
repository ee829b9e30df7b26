"""Who judges whether pictures agree with their captions: one reader of sentences, whatever the model."""

from __future__ import annotations

from torch import Tensor

from redraft.app import experts
from redraft.app.bridges import TEXT
from redraft.app.language import unknown_words
from redraft.app.model import Model
from redraft.core.errors import RedraftError
from redraft.evaluation.once import Once
from redraft.nets.experts.expert import Expert
from redraft.spaces.sentence import Sentence


def reader(model: Model, captions: Tensor) -> tuple[Once, str]:
    """What turns captions uint8 [N, LENGTH] into the vectors [N, D] that a judge goes by, and its name.

    Models that read with several text experts need one judge between them: ``text:minilm``, where it is here
    and knows the words of ``captions``; else the model's own.
    """
    own = model.bridge.condition
    assert own is not None
    usual = own if own.name == TEXT else _usual()
    some = Sentence().words(captions)
    judge = own if usual is None or unknown_words(usual, some) else usual.to(model.device)
    return Once(lambda c: judge(Sentence().words(c)).to(c.device)), judge.name


def _usual() -> Expert | None:
    try:
        return experts.load(TEXT)
    except RedraftError:  # it is an extra
        return None
