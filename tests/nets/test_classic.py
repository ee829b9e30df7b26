"""The papers' networks: the released numbers of parameters, TensorFlow's geometry, the house's contract."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from torch.nn import functional as F

from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.classic import Conv, Deconv, classic_initializer, classic_solver, same_edges

NONE_SCENE = Spec(size=64, channels=3, condition="none")
NONE_MNIST = Spec(size=28, channels=1, condition="none")
CATEGORY = Spec(size=28, channels=1, condition="category", width=10)
PICTURE = Spec(size=128, channels=3, condition="picture", width=3)
SMALL = Spec(size=32, channels=3, condition="picture", width=5)
ODD = Spec(size=22, channels=2, condition="category", width=4)


def condition(spec: Spec, n: int) -> torch.Tensor | None:
    rng = stream(0, "condition")
    if spec.condition == "none":
        return None
    if spec.condition == "category":
        return torch.randint(spec.width, (n,), generator=rng)
    return torch.randn(n, spec.width, spec.size, spec.size, generator=rng)


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("spec", "solver", "initializer"),
    [
        (NONE_SCENE, 6_927_588, 5_126_723),
        (NONE_MNIST, 1_066_532, 3_444_481),
        (CATEGORY, 1_648_228, 1_222_977),
        (PICTURE, 6_036_516, 1_968_771),
    ],
)
def test_parameters_are_as_many_as_released(spec: Spec, solver: int, initializer: int) -> None:
    assert count(classic_solver(spec)) == solver
    assert count(classic_initializer(spec)) == initializer


@pytest.mark.parametrize("spec", [NONE_SCENE, NONE_MNIST, CATEGORY, SMALL, ODD], ids=str)
def test_contract(spec: Spec) -> None:
    torch.manual_seed(0)
    solver, initializer = classic_solver(spec), classic_initializer(spec)
    n, c = 3, condition(spec, 3)
    x = initializer(torch.randn(n, *initializer.z_shape), c)
    assert x.shape == (n, spec.channels, spec.size, spec.size)
    assert x.abs().max() <= 1
    energies = solver(x, solver.encode(c))
    assert energies.shape == (n,) and energies.dtype == torch.float32
    assert torch.equal(solver.given(c)(x), energies)
    rolled = solver(x, tuple(k.roll(1, 0) for k in solver.encode(c)))  # codes have one row a picture
    if c is not None and not torch.equal(c, c.roll(1, 0)):
        assert not torch.equal(rolled, energies)
        torch.testing.assert_close(rolled, solver.given(c.roll(1, 0))(x))


def test_energy_is_minus_the_sum_of_a_concatenated_forward_pass() -> None:
    """Against the release's own way: concatenate c and x, then convolve."""
    torch.manual_seed(1)
    for spec in (CATEGORY, SMALL):
        solver, c = classic_solver(spec).double(), condition(spec, 2)
        x = torch.randn(2, spec.channels, spec.size, spec.size).double()
        h = x
        for i, conv in enumerate(solver.convs):
            weight = conv.weight
            if i == solver.enters:
                plane = c.double() if spec.condition == "picture" else F.one_hot(c, spec.width).double()
                plane = plane if plane.ndim == 4 else plane[:, :, None, None].expand(-1, -1, *h.shape[-2:])
                h = torch.cat([h, plane], 1)
                weight = torch.cat([weight, solver.conv_c.weight], 1)
            edges = same_edges(h.shape[-1], conv.kernel_size[0], conv.stride[0])
            h = F.leaky_relu(F.conv2d(F.pad(h, edges * 2), weight, conv.bias, conv.stride), 0.2)
        f = F.conv2d(h, solver.head.weight, solver.head.bias).sum((1, 2, 3))
        code = solver.encode(c.double() if spec.condition == "picture" else c)
        torch.testing.assert_close(solver(x, code).double(), -f, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(64, 5, 2), (64, 3, 2), (28, 4, 2), (7, 4, 2), (9, 3, 1)]
)
def test_edges_are_tensorflows(size: int, kernel: int, stride: int) -> None:
    """SAME, from its definition: output i sees inputs i*stride - before + (0 ... kernel - 1)."""
    torch.manual_seed(2)
    conv, x = Conv(1, 1, kernel, stride).double(), torch.randn(1, 1, size, size).double()
    before = max((-(-size // stride) - 1) * stride + kernel - size, 0) // 2
    full = correlate2d(np.asarray(x[0, 0]), conv.weight.detach().numpy()[0, 0], mode="full")
    start = kernel - 1 - before
    expected = full[start::stride, start::stride][: -(-size // stride), : -(-size // stride)]
    np.testing.assert_allclose(conv(x)[0, 0].detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("size", "kernel"), [(64, 5), (64, 3), (7, 4), (28, 4), (11, 3)])
def test_transposed_convolution_is_the_adjoint(size: int, kernel: int) -> None:
    """<conv x, y> = <x, deconv y>, which fixes its edges too."""
    torch.manual_seed(3)
    conv, deconv = Conv(2, 3, kernel, 2).double(), Deconv(3, 2, kernel, 2, size).double()
    deconv.weight.data = conv.weight.data
    x, y = torch.randn(1, 2, size, size).double(), torch.randn(1, 3, -(-size // 2), -(-size // 2)).double()
    torch.testing.assert_close((conv(x) * y).sum(), (x * deconv(y)).sum())


def test_initial_weights_are_the_papers() -> None:
    torch.manual_seed(4)
    solver, initializer = classic_solver(NONE_SCENE), classic_initializer(NONE_SCENE)
    assert abs(solver.head.weight.std().item() / 0.01 - 1) < 0.01
    assert abs(initializer.ups[1].weight.std().item() / 0.005 - 1) < 0.01
    assert all(not layer.bias.any() for layer in [*solver.convs, solver.head, *initializer.ups])


def test_a_draft_is_the_same_in_training_and_after_it() -> None:
    """As released: batch statistics in both."""
    torch.manual_seed(5)
    net, z = classic_initializer(NONE_MNIST), torch.randn(4, 100)
    with torch.no_grad():
        assert torch.equal(net.train()(z, None), net.eval()(z, None))
    assert not list(net.buffers())


def test_an_untrained_residual_block_is_nearly_the_identity() -> None:
    torch.manual_seed(6)
    net, h = classic_initializer(SMALL), torch.randn(1, 128, 8, 8)
    with torch.no_grad():
        assert (net.blocks(h) - h).std() < 0.05


def test_z_moves_the_picture_to_picture_draft() -> None:
    torch.manual_seed(7)
    net, c = classic_initializer(SMALL), condition(SMALL, 1)
    with torch.no_grad():
        assert not torch.equal(net(torch.randn(1, 128), c), net(torch.randn(1, 128), c))
