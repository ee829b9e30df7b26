"""ONNX generators: what they are taken for, and that they are run as they are."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.core.errors import BundleError, UsageError
from redraft.core.types import Spec
from redraft.nets.foreign import make, read
from redraft.nets.onnx import OnnxInitializer, values_of

onnx = pytest.importorskip("onnx", reason="writing a model takes onnx")
pytest.importorskip("onnxruntime", reason="running one takes onnxruntime (redraft[onnx])")

SPEC = Spec(size=16, channels=3, condition="picture", width=1)
KERNEL = np.array([0.9, -0.5, 0.2], dtype=np.float32).reshape(3, 1, 1, 1)


def written(
    folder: Path,
    given: list[object] | None = None,
    *,
    end: str = "Tanh",
    scale: float = 1.0,
    kind: int = 1,
    second: bool = False,
) -> Path:
    """end(KERNEL * picture) * scale, or of noise where ``given`` has two dimensions or ends in 1 x 1."""
    from onnx import TensorProto, helper, numpy_helper

    given = given or ["n", 1, "s", "s"]
    noise = len(given) == 2 or given[2:] == [1, 1]
    shape = numpy_helper.from_array(np.array([-1, 3, 2, 2]), "shape")
    first = helper.make_node("Reshape", ["x", "shape"], ["h"]) if noise else None
    made = ["n", 3, 2, 2] if noise else [given[0], 3, *given[2:]]
    nodes = [
        first or helper.make_node("Conv", ["x", "k"], ["h"]),
        helper.make_node(end, ["h"], ["e"]),
        helper.make_node("Mul", ["e", "scale"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", kind, given)]
    if second:
        inputs.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    dtype = np.float32 if kind == TensorProto.FLOAT else np.float16
    constants = [
        numpy_helper.from_array(KERNEL.astype(dtype), "k"),
        numpy_helper.from_array(np.array(scale, dtype=dtype), "scale"),
        shape,
    ]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", kind, made)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


def opened(file: Path, spec: Spec = SPEC, **changes: object) -> OnnxInitializer:
    foreign, state = read(file)
    net = make(replace(foreign, **changes), spec)
    net.load_state_dict(state)
    assert isinstance(net, OnnxInitializer)
    return net


def pictures(n: int = 3) -> Tensor:
    return torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def end(c: Tensor) -> Tensor:
    return F.conv2d(c, torch.from_numpy(KERNEL))


@pytest.mark.parametrize("given", [["n", 1, "s", "s"], [1, 1, 16, 16], ["n", "c", "h", "w"]])
def test_it_is_run_as_it_is(given: list[object], tmp_path: Path) -> None:
    net = opened(written(tmp_path, given))
    assert net.z_shape == (0,) and not list(net.parameters())
    assert (net.foreign.given, net.foreign.size) == (given[1] if given[1] == 1 else 0, 16 * (given[2] == 16))
    c = pictures()
    torch.testing.assert_close(net(torch.zeros(3, 0), c), end(c).tanh())


def test_values_between_0_and_1_go_in_and_come_out(tmp_path: Path) -> None:
    net = opened(written(tmp_path, end="Sigmoid"))
    assert values_of(net)[0] == "0..1"
    net, c = opened(written(tmp_path, end="Sigmoid"), values="0..1"), pictures()
    expected = torch.sigmoid(end((c + 1) / 2)) * 2 - 1
    torch.testing.assert_close(net(torch.zeros(3, 0), c), expected)


def test_values_of_bytes(tmp_path: Path) -> None:
    file = written(tmp_path, end="Sigmoid", scale=255)
    assert values_of(opened(file))[0] == "0..255"
    net, c = opened(file, values="0..255"), pictures()
    expected = torch.sigmoid(end((c + 1) * 127.5)) * 2 - 1
    torch.testing.assert_close(net(torch.zeros(3, 0), c), expected, rtol=0, atol=1e-5)


def test_values_are_told_or_asked_for(tmp_path: Path) -> None:
    said, low, high = values_of(opened(written(tmp_path)))
    assert said == "-1..1" and -1 <= low < 0 < high <= 1
    with pytest.raises(UsageError, match=r"networks\.foreign\.values"):
        values_of(opened(written(tmp_path, scale=3)))


@pytest.mark.parametrize("shape", [(12,), (12, 1, 1)])
def test_from_noise(shape: tuple[int, ...], tmp_path: Path) -> None:
    spec = Spec(size=2, channels=3, condition="none")
    net = opened(written(tmp_path, ["n", *shape]), spec)
    assert net.z_shape == shape and net.foreign.size == 2
    z = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(z, None), z.view(4, 3, 2, 2).tanh())


def test_the_file_travels_with_the_weights(tmp_path: Path) -> None:
    file = written(tmp_path)
    net, c, z = opened(file), pictures(), torch.zeros(3, 0)
    before = net(z, c)
    assert bytes(net.state_dict()["file"].tolist()) == file.read_bytes()
    file.unlink()
    other = make(net.foreign, SPEC)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(z, c), before) and torch.equal(copy.deepcopy(net)(z, c), before)


def test_new_weights_are_another_session(tmp_path: Path) -> None:
    net, c, z = opened(written(tmp_path)), pictures(), torch.zeros(3, 0)
    before = net(z, c)
    foreign, state = read(written(tmp_path, end="Sigmoid"))
    assert foreign.bytes != net.foreign.bytes
    net.file = torch.zeros(foreign.bytes, dtype=torch.uint8)
    net.load_state_dict(state)
    assert not torch.allclose(net(z, c), before)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"second": True}, "2 inputs"),
        ({"kind": 10}, "must be float32"),
        ({"given": ["n", 16, 16, 1]}, "channels come last"),
        ({"given": [4, 1, 16, 16]}, "4 pictures at a time"),
        ({"given": ["n", 1, 16, 24]}, "24 x 16 px"),
    ],
)
def test_other_files_are_refused_in_words(options: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=said):
        read(written(tmp_path, **options))


def test_what_is_no_onnx_file(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"not a network")
    with pytest.raises(BundleError, match="cannot be run by onnxruntime") as refused:
        read(tmp_path / "net.onnx")
    assert "\n" not in str(refused.value)


def test_pictures_of_another_kind_are_refused(tmp_path: Path) -> None:
    grey = Spec(size=16, channels=1, condition="picture", width=1)
    with pytest.raises(BundleError, match=r"\[3, 16, 16\] where \[1, 16, 16\]"):
        values_of(opened(written(tmp_path), grey))
