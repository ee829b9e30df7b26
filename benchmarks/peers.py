"""The peers' way, written plainly: what a loop in PyTorch does when nobody has thought about its cost.

``naive``: ``.backward()`` on every Langevin step, so that every weight's gradient is computed as well
and thrown away (as pytorch-CoopNets does), in NCHW, the condition processed anew on each step.
``input_only``: the same with gradients of the picture alone, which is what a faithful port of the
TensorFlow graph of CCoopNets does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.types import Spec
from redraft.nets.classic import MNIST, BatchNorm, Conv, Deconv, Descriptor

Energy = Callable[[Tensor], Tensor]


def naive(energy: Energy, x: Tensor, steps: int, delta: float, s: float) -> Tensor:
    for _ in range(steps):
        x = x.detach().requires_grad_()
        energy(x).sum().backward()
        x = x - 0.5 * delta * delta * (x / s / s + x.grad)
    return x.detach()


def input_only(energy: Energy, x: Tensor, steps: int, delta: float, s: float) -> Tensor:
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(x).sum(), x)
        x = x - 0.5 * delta * delta * (x / s / s + gradient)
    return x.detach()


class Concatenated(nn.Module):
    """A classic descriptor as released: condition and picture are concatenated on every pass."""

    def __init__(self, ours: Descriptor) -> None:
        super().__init__()
        first, rest = ours.convs[0], list(ours.convs[1:])
        joined = Conv(first.in_channels + ours.conv_c.in_channels, first.out_channels, 4, 2)
        joined.weight.data = torch.cat([first.weight, ours.conv_c.weight], 1).detach().clone()
        joined.bias.data = first.bias.detach().clone()
        self.convs = nn.ModuleList([joined, *(copy_of(conv) for conv in rest)])
        self.head = copy_of(ours.head)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = torch.cat([x, c], 1)
        for conv in self.convs:
            h = F.leaky_relu(conv(h), 0.2)
        return -F.conv2d(h, self.head.weight, self.head.bias).flatten(1).sum(1)


class LabelDescriptor(nn.Module):
    """CCoopNets' category descriptor for 28 px: a decoder draws the label as a plane beside the picture.

    With the house's contract: ``encode`` runs the decoder, ``forward`` does not.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.classes = classes
        widths, sides = (classes, 256, 128, 64, 1), (4, 7, 14, 28)
        strides, norms = (1, 2, 2, 2), (256, 128, 64)
        layers = zip(widths, widths[1:], strides, sides, strict=False)
        self.decode = nn.ModuleList(Deconv(a, b, 4, stride, side) for a, b, stride, side in layers)
        self.norms = nn.ModuleList(BatchNorm(n, eps=1e-5, scale=True) for n in norms)
        self.body = Descriptor(Spec(size=28, channels=2, condition="none"), MNIST)

    def encode(self, c: Tensor) -> tuple[Tensor, ...]:
        h = self.decode[0](F.one_hot(c, self.classes).to(self.norms[0].bias.dtype)[:, :, None, None])
        for norm, up in zip(self.norms, self.decode[1:], strict=True):
            h = up(F.relu(norm(h)))
        return (torch.tanh(h),)

    def forward(self, x: Tensor, code: tuple[Tensor, ...]) -> Tensor:
        return self.body(torch.cat([x, code[0]], 1), ())

    def given(self, c: Tensor) -> Energy:
        code = self.encode(c)
        return lambda x: self(x, code)


class NaiveCCoopNets:
    """One training step in the order of the release: five passes over five graphs, default Adam."""

    def __init__(self, solver: Concatenated, initializer: nn.Module, chain: Callable[..., Tensor]) -> None:
        self.solver, self.initializer, self.chain = solver, initializer, chain
        self.adam_solver = torch.optim.Adam(solver.parameters(), 3e-3, betas=(0.5, 0.999))
        self.adam_initializer = torch.optim.Adam(initializer.parameters(), 2e-4, betas=(0.5, 0.999))

    def step(self, c: Tensor, x: Tensor, z: Tensor, steps: int, sigma: float = 0.3) -> Tensor:
        with torch.no_grad():
            x_fast = self.initializer(z, c)
        x_slow = self.chain(lambda y: self.solver(y, c), x_fast, steps, 0.002, 0.016)
        self.adam_solver.zero_grad()
        (self.solver(x, c).mean() - self.solver(x_slow, c).mean()).backward()
        self.adam_solver.step()
        self.adam_initializer.zero_grad()
        error = (x_slow - self.initializer(z, c)).square().flatten(1).sum(1).mean()
        (error / (2 * sigma**2)).backward()
        self.adam_initializer.step()
        return (x_slow.mean(0) - x.mean(0)).square().mean()


def copy_of(conv: Conv) -> Conv:
    made = Conv(conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0])
    made.load_state_dict(conv.state_dict())
    return made
