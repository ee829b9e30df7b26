"""Generators as ONNX files, run as they are by onnxruntime (``pip install redraft[onnx]``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from redraft.core.errors import BundleError, UsageError
from redraft.core.types import Spec
from redraft.nets.parts import Initializer

if TYPE_CHECKING:
    from redraft.nets.foreign import Foreign

Values: TypeAlias = Literal["-1..1", "0..1", "0..255"]
SCALES = {"-1..1": (1.0, 0.0), "0..1": (0.5, 0.5), "0..255": (127.5, 127.5)}  # file's = a · ours + b


class OnnxInitializer(Initializer):
    """What an ONNX file makes of a picture c [N, Cc, S, S], or of noise z [N, *z_shape]: [N, C, S, S].

    The file itself is a buffer, so that a bundle needs nothing beside it. It has no gradients. A file
    that takes one picture at a time is given one at a time.
    """

    file: Tensor

    def __init__(self, foreign: Foreign, spec: Spec) -> None:
        super().__init__()
        self.foreign, self.spec, self.z_shape = foreign, spec, foreign.noise
        self.register_buffer("file", torch.zeros(foreign.bytes, dtype=torch.uint8))
        self._session: Any = None
        self.register_load_state_dict_post_hook(lambda net, _: net._forget())

    def forward(self, z: Tensor, c: Any) -> Tensor:
        scale, shift = SCALES[self.foreign.values or "-1..1"]
        given = c * scale + shift if self.foreign.noise == (0,) else z
        return ((self.run(given) - shift) / scale).clamp(-1, 1)

    def run(self, given: Tensor) -> Tensor:
        """The file's output for its input, both in the file's own values; on the device of ``given``."""
        if self._session is None:
            self._session = session(self.file.cpu().numpy().tobytes())
        entry = self._session.get_inputs()[0]
        one = isinstance(entry.shape[0], int)
        parts = given.split(1) if one else [given]
        arrays = [part.detach().float().cpu().numpy() for part in parts]
        made = [self._session.run(None, {entry.name: array})[0] for array in arrays]
        return torch.from_numpy(np.concatenate(made)).to(given)

    def _forget(self) -> None:
        self._session = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}  # a copy opens its own


def read_onnx(file: Path, base: Foreign) -> tuple[Foreign, dict[str, Tensor]]:
    """What an ONNX file takes and makes, as far as it says, and its bytes as a tensor.

    BundleError for a file that is no generator: one float input (a picture [N, C, S, S], or noise), one
    picture out.
    """
    content = file.read_bytes()
    taken = _entries(session(content, str(file)))
    entry, out = taken
    foreign = replace(base, network="onnx", bytes=len(content), channels=_fixed(out.shape[1]))
    if not _noise(entry.shape):
        given, height, width = entry.shape[1:]
        if height != width and isinstance(height, int) and isinstance(width, int):
            raise BundleError(f"{file} takes pictures of {width} x {height} px; redraft's are square.")
        foreign = replace(foreign, given=_fixed(given), size=_fixed(height) or _fixed(width))
    else:
        if not all(isinstance(n, int) for n in entry.shape[1:]):
            raise BundleError(f"{file} does not say how many numbers of noise it takes: {entry.shape}.")
        size = _fixed(out.shape[2])
        foreign = replace(foreign, noise=tuple(entry.shape[1:]), size=size)
    state = {"file": torch.frombuffer(bytearray(content), dtype=torch.uint8)}
    return foreign, state


def values_of(net: OnnxInitializer) -> tuple[Values, float, float]:
    """The range that the file's pictures lie in, "-1..1", "0..1" or "0..255", and the extremes seen.

    Told from what it makes of noise; BundleError where it makes pictures of another size or number of
    channels, UsageError where the range cannot be told.
    """
    spec, noise = net.spec, net.foreign.noise
    g = torch.Generator().manual_seed(0)
    shape = (4, spec.width, spec.size, spec.size) if noise == (0,) else (4, *noise)
    made = net.run(torch.randn(shape, generator=g).clamp_(-1, 1))
    if made.shape != (4, spec.channels, spec.size, spec.size):
        raise BundleError(
            f"{net.foreign.origin} makes pictures of shape {list(made.shape[1:])} where "
            f"{[spec.channels, spec.size, spec.size]} are wanted; choose another --size, or other pictures."
        )
    low, high = float(made.min()), float(made.max())
    if low >= -0.02:
        return ("0..1" if high <= 1.05 else "0..255"), low, high
    if low >= -1.1 and high <= 1.1:
        return "-1..1", low, high
    raise UsageError(
        f"{net.foreign.origin} makes values from {low:.2f} to {high:.2f}, so the range of its pictures "
        f"cannot be told: say it with --set networks.foreign.values=-1..1 (or 0..1, or 0..255)."
    )


class _Entries(NamedTuple):
    given: Any
    made: Any


def _entries(session: Any) -> _Entries:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    told = ", ".join(f"{e.name} {e.type} {e.shape}" for e in (*inputs, *outputs))
    wrong = f"This ONNX file has {len(inputs)} inputs and {len(outputs)} outputs ({told}); "
    if len(inputs) != 1:
        raise BundleError(wrong + "a generator takes one: a picture, or noise.")
    given, made = inputs[0], outputs[0]
    if given.type != "tensor(float)" or made.type != "tensor(float)":
        raise BundleError(wrong + "both must be float32: export it so.")
    if len(given.shape) < 2 or len(made.shape) != 4:
        raise BundleError(wrong + "it must make pictures [N, C, H, W].")
    pictures = [made.shape] if _noise(given.shape) else [given.shape, made.shape]
    if any(shape[3] in (1, 3) and shape[1] not in (1, 3) for shape in pictures):
        raise BundleError(wrong + "its channels come last; export it with channels first, [N, C, H, W].")
    if given.shape[0] not in (1,) and isinstance(given.shape[0], int):
        raise BundleError(wrong + f"it takes {given.shape[0]} pictures at a time; export it for one or any.")
    return _Entries(given, made)


def _noise(shape: list[Any]) -> bool:
    """Whether an input of this shape is noise: [N, D], or [N, D, 1, 1] as DCGANs have it."""
    return len(shape) != 4 or list(shape[2:]) == [1, 1]


def _fixed(n: Any) -> int:
    """A side or a count that the file fixes; 0 where it leaves it open."""
    return n if isinstance(n, int) else 0


def session(content: bytes, name: str = "The ONNX file") -> Any:
    """What runs the file, on the CPU; UsageError without onnxruntime, BundleError for what it cannot run."""
    try:
        import onnxruntime
    except ImportError:
        raise UsageError(
            "ONNX files are run by onnxruntime, which is missing: pip install 'redraft[onnx]'."
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime's exceptions have no common base
        first = (str(problem).splitlines() or [""])[0].rstrip(".")
        raise BundleError(f"{name} cannot be run by onnxruntime ({first}).") from None
