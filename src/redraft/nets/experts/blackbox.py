"""Experts of which nothing is known but what they give: a Python function, an ONNX file."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import BundleError, UsageError
from redraft.nets.experts.expert import Expert, Kind, Shape
from redraft.nets.onnx import session


class BlackBox(Expert):
    """Any function as an expert: sentences or pictures [n, 3, S, S] in [-1, 1] -> [n, *shape].

    ``function`` takes a list of sentences or a float32 tensor and returns a tensor or an array; with
    ``each`` it takes one sentence or picture [3, S, S] and returns [*shape]. What it computes cannot be
    hashed: change ``version`` when it changes, or what was cached of it is used on.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        name: str,
        kind: Kind,
        shape: Shape | Callable[[int], Shape],
        meaning: str = "what a function makes of it",
        licence: str = "not stated",
        version: str = "1",
        each: bool = False,
        back: Callable[[Tensor], Any] | None = None,
    ) -> None:
        """``shape``: of one representation, or a function of the pictures' size.

        ``back`` (autoencoder, generator): representations [n, *shape] -> pictures [n, 3, S, S] in [-1, 1].
        """
        if kind in ("autoencoder", "generator") and back is None:
            raise UsageError(f"{name} is to be of kind {kind}, which takes back=, from numbers to pictures.")
        super().__init__(
            function if isinstance(function, nn.Module) else nn.Module(),
            name=name,
            kind=kind,
            meaning=meaning,
            licence=licence,
        )
        self._function, self._shape, self._back, self.each = function, shape, back, each
        self.version = version

    def shape(self, size: int) -> Shape:
        return self._shape(size) if callable(self._shape) else self._shape

    def decides(self) -> str:
        return f"{super().decides()} {self.version} {_source(self._function)} {_source(self._back)}"

    def represent(self, given: Any) -> Tensor:
        made = [self._function(one) for one in given] if self.each else self._function(given)
        return _tensor(made, self.name).to(given.device if isinstance(given, Tensor) else "cpu")

    def picture(self, z: Tensor) -> Tensor:
        return super().picture(z) if self._back is None else _tensor(self._back(z), self.name).to(z.device)


class Onnx(Expert):
    """An ONNX file run by onnxruntime: pictures [N, 3, S, S] in [-1, 1] -> its one output [N, ...]."""

    def __init__(self, file: Path) -> None:
        content = file.read_bytes()
        self_hash = hashlib.sha256(content).hexdigest()
        run = session(content, str(file))
        entry, made = run.get_inputs()[0], run.get_outputs()[0]
        told = ", ".join(f"{e.name} {e.type} {e.shape}" for e in (*run.get_inputs(), *run.get_outputs()))
        wrong = f"{file} has {told}; an image expert "
        if len(run.get_inputs()) != 1 or entry.type != "tensor(float)" or made.type != "tensor(float)":
            raise BundleError(wrong + "takes one float32 input, a picture, and its first output is float32.")
        if len(entry.shape) != 4 or entry.shape[1] not in (1, 3) or len(made.shape) not in (2, 4):
            raise BundleError(wrong + "takes pictures [N, 3, S, S] and makes [N, D] or [N, C, h, w].")
        super().__init__(
            nn.Module(),
            name=f"image:{file}",
            kind="image",
            meaning=f"{made.name} of {file.name}",
        )
        self.hash, self.grey = self_hash, entry.shape[1] == 1
        self.side = entry.shape[2] if isinstance(entry.shape[2], int) else 0  # 0: any
        self.one = entry.shape[0] == 1
        self._session, self._entry, self._made = run, entry.name, made.name

    def shape(self, size: int) -> Shape:
        return tuple(self.represent(torch.zeros(1, 3, size, size)).shape[1:])

    def decides(self) -> str:
        return f"onnx {self.hash}"

    def represent(self, given: Tensor) -> Tensor:
        if self.side and self.side != given.shape[-1]:
            given = F.interpolate(given, size=(self.side, self.side), mode="bilinear", antialias=True)
        given = given.mean(1, keepdim=True) if self.grey else given
        arrays = [part.cpu().numpy() for part in (given.split(1) if self.one else [given])]
        try:
            rows = [self._session.run([self._made], {self._entry: array})[0] for array in arrays]
        except Exception as problem:  # onnxruntime's exceptions have no common base
            size, first = given.shape[-1], (str(problem).splitlines() or [""])[0].rstrip(".")
            raise UsageError(f"{self.name} cannot take pictures of {size} px: {first}.") from None
        return torch.from_numpy(np.concatenate(rows)).to(given.device)


def from_onnx(file: Path) -> Onnx:
    """UsageError without the file or onnxruntime, BundleError for a file that is no image expert."""
    if not file.is_file():
        raise UsageError(f"There is no file {file}.")
    return Onnx(file)


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # typed at a prompt, or written in C
        return getattr(function, "__qualname__", type(function).__name__)


def _tensor(made: Any, name: str) -> Tensor:
    try:
        if isinstance(made, list | tuple):
            return torch.stack([torch.as_tensor(row) for row in made]).float()
        return torch.as_tensor(made).float()
    except (TypeError, ValueError, RuntimeError) as problem:
        raise BundleError(f"{name} returned something that is no array of numbers: {problem}.") from None
