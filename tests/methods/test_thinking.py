"""A frozen net: no weight gradients, another layout inside, and the same net after it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from redraft.methods.thinking import LARGE, frozen


def test_a_frozen_net_comes_back_as_it_was_even_after_an_error() -> None:
    net = nn.Sequential(nn.Conv2d(64, 128, 4), nn.Conv2d(3, 4, 3))
    net[1].bias.requires_grad_(False)
    before = [(p.data_ptr(), p.stride(), p.requires_grad, p.detach().clone()) for p in net.parameters()]
    assert net[0].weight.numel() >= LARGE
    with pytest.raises(RuntimeError, match="stop"), frozen(net):
        assert not any(p.requires_grad for p in net.parameters())
        assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(net[0].weight, before[0][3])
        raise RuntimeError("stop")
    for p, (place, stride, trains, value) in zip(net.parameters(), before, strict=True):
        assert (p.data_ptr(), p.stride(), p.requires_grad) == (place, stride, trains)
        assert torch.equal(p, value)


def test_gradients_inside_are_those_outside() -> None:
    torch.manual_seed(0)
    net, x = nn.Conv2d(64, 128, 4).double(), torch.randn(2, 64, 8, 8).double().requires_grad_()
    (outside,) = torch.autograd.grad(net(x).square().sum(), x)
    with frozen(net):
        (inside,) = torch.autograd.grad(net(x).square().sum(), x)
    torch.testing.assert_close(inside, outside)
