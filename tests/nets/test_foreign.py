"""Files of other code: recognised from their tensors, and made to do what they did there."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from other_code import resnet, shaken, unet
from torch import Tensor, nn

from redraft.core.errors import BundleError
from redraft.core.types import Spec
from redraft.nets.foreign import Foreign, make, read_generator, suited_state
from redraft.nets.parts import Initializer

SMOOTH = {"cut": (True, True), "cyclegan": (False, False), "mixed": (True, False)}


def written(net: nn.Module, folder: Path, prefix: str = "") -> Path:
    file = folder / "latest_net_G.pth"
    torch.save(OrderedDict((prefix + name, t) for name, t in net.state_dict().items()), file)
    return file


def opened(file: Path, spec: Spec, **changes: object) -> Initializer:
    foreign, state = read_generator(file)
    assert (foreign.given, foreign.channels, foreign.origin) == (spec.width, spec.channels, str(file))
    foreign = replace(foreign, **changes)
    net = make(foreign, spec)
    net.load_state_dict(suited_state(state, foreign))
    return net.eval()


def picture(spec: Spec, n: int = 3) -> Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.rand(n, spec.width, spec.size, spec.size, generator=g) * 2 - 1


def spec(size: int, given: int = 3, made: int = 3) -> Spec:
    return Spec(size=size, channels=made, condition="picture", width=given)


@pytest.mark.parametrize("norm", ["instance", "none"])
@pytest.mark.parametrize("smooth", SMOOTH)
@pytest.mark.parametrize("dropout", [False, True])
def test_resnets(smooth: str, norm: str, dropout: bool, tmp_path: Path) -> None:
    theirs = shaken(resnet(3, 3, 4, 6, norm, dropout=dropout, smooth=SMOOTH[smooth]), 24, 3)
    ours = opened(written(theirs, tmp_path), spec(24))
    c = picture(spec(24))
    torch.testing.assert_close(ours(torch.zeros(3, *ours.z_shape), c), theirs(c), rtol=0, atol=1e-5)


def test_nine_blocks_and_other_channels(tmp_path: Path) -> None:
    theirs = shaken(resnet(1, 3, 4, 9, "instance", dropout=False, smooth=(True, True)), 16, 1)
    ours, c = opened(written(theirs, tmp_path), spec(16, 1)), picture(spec(16, 1))
    torch.testing.assert_close(ours(torch.zeros(3, 0), c), theirs(c), rtol=0, atol=1e-5)


@pytest.mark.parametrize("depth", [7, 8])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_unets(depth: int, norm: str, tmp_path: Path) -> None:
    size = 2**depth
    theirs = shaken(unet(3, 1, 2, depth, norm), size, 3)
    file, c = written(theirs, tmp_path), picture(spec(size, made=1), 2)
    ours = opened(file, spec(size, made=1), **({"norm": "running"} if norm == "batch" else {}))
    torch.testing.assert_close(ours(torch.zeros(2, 0), c), theirs(c), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["unet", "resnet"])
def test_batch_normalisation_as_their_test_script_and_as_with_eval(kind: str, tmp_path: Path) -> None:
    size = 128 if kind == "unet" else 16
    theirs = unet(3, 3, 2, 7, "batch") if kind == "unet" else None
    theirs = theirs or resnet(3, 3, 4, 6, "batch", dropout=False, smooth=(False, False))
    file, c = written(shaken(theirs, size, 3), tmp_path), picture(spec(size), 2)
    z = torch.zeros(2, 0)
    evaluated = theirs.eval()(c)
    torch.testing.assert_close(opened(file, spec(size), norm="running")(z, c), evaluated, rtol=0, atol=1e-5)
    theirs.train()  # test.py leaves it so, and gives it one picture at a time
    alone = torch.cat([theirs(c[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(opened(file, spec(size))(z, c), alone, rtol=0, atol=3e-5)
    assert (alone - evaluated).abs().max() > 0.01


def test_prefixes_of_data_parallel_and_half_precision(tmp_path: Path) -> None:
    theirs = shaken(resnet(3, 3, 4, 6, "instance", dropout=False, smooth=(True, True)), 16, 3)
    ours, c = opened(written(theirs, tmp_path, "module."), spec(16)), picture(spec(16))
    torch.testing.assert_close(ours(torch.zeros(3, 0), c), theirs(c), rtol=0, atol=1e-5)
    halved = opened(written(theirs.half(), tmp_path), spec(16))
    assert {p.dtype for p in halved.parameters()} == {torch.float32}


def test_statistics_that_old_instance_norms_saved_are_passed_over(tmp_path: Path) -> None:
    theirs = shaken(resnet(3, 3, 4, 6, "instance", dropout=False, smooth=(False, False)), 16, 3)
    state = theirs.state_dict()
    for i in (2, 5, 8):
        state[f"model.{i}.running_mean"] = torch.ones(4)
        state[f"model.{i}.num_batches_tracked"] = torch.tensor(7)
    torch.save(state, tmp_path / "old.pth")
    ours, c = opened(tmp_path / "old.pth", spec(16)), picture(spec(16))
    torch.testing.assert_close(ours(torch.zeros(3, 0), c), theirs(c), rtol=0, atol=1e-5)


class Own:
    """What a pickle may hold."""


def test_other_files_are_refused_with_what_they_hold(tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    some = resnet(3, 3, 4, 6, "instance", dropout=False, smooth=(True, True)).state_dict()
    wrong = {
        "10 tensors, the first named 'fc.weight' with shape [2, 3]": {
            f"{n}.{w}": torch.zeros(2, 3)[: 1 if w == "bias" else 2]
            for n in ("fc", "a", "b", "c", "d")
            for w in ("weight", "bias")
        },
        "holds epoch, model, not the tensors": {"epoch": 3, "model": some},
        "holds list, not the tensors": [torch.zeros(1)],
        "no generator known here": {k: v for k, v in some.items() if not k.startswith("model.14.")},
        "it holds other things than tensors, or none. Read are": Own(),
        "the first named 'a.conv_block.1'": {
            "a.conv_block.1": torch.zeros(3),
            "model.1.weight": torch.zeros(3),
        },
        "the first named 'model.10.conv_block.1.weight'": {
            "model.10.conv_block.1.weight": torch.zeros(3),
            "model.1.weight": torch.zeros(3),
        },
        "with shape [0, 3, 4, 4]": {
            **{f"model.model.{i}.weight": torch.zeros(0, 3, 4, 4) for i in (0, 3)},
            **{str(i): torch.zeros(1, 1, 1, 1) for i in range(12)},
        },
    }
    for said, held in wrong.items():
        torch.save(held, file)
        with pytest.raises(BundleError) as refused:
            read_generator(file)
        assert said in str(refused.value) and "latest_net_G.pth" in str(refused.value)
        assert "\n" not in str(refused.value) and "weights_only" not in str(refused.value)
    file.write_text("not weights")
    with pytest.raises(BundleError, match="cannot be read as PyTorch weights"):
        read_generator(file)


def test_a_description_is_plain_values(tmp_path: Path) -> None:
    from redraft.core.config import from_dict, to_dict

    theirs = shaken(resnet(3, 3, 4, 6, "instance", dropout=True, smooth=(True, False)), 16, 3)
    foreign, _ = read_generator(written(theirs, tmp_path))
    assert foreign.dropout and foreign.antialias and not foreign.antialias_up and foreign.depth == 6
    assert from_dict(Foreign, to_dict(foreign)) == foreign
