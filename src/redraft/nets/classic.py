"""The papers' networks, layer by layer as released, for results that can be compared with theirs.

    none       CoopNets (jianwen-xie/CoopNets): scene networks; 28 px and below, MNIST networks
    category   CCoopNets, TPAMI revision (jianwen-xie/Conditional-CoopNets), MNIST; above 28 px the
               generator of zilongzheng/CCoopNets (cat2img), which is the same stack with 5x5 kernels
    picture    CCoopNets, picture to picture (zilongzheng/CCoopNets)

Any other size or number of channels follows by the same rule: strided layers halve the side, rounding
up as TensorFlow's SAME does, and the head covers what map is left, so it grows with the area.

BatchNorm always takes the statistics of the batch at hand, as released: a draft then depends, a
little, on the other drafts of its batch. The modern networks have no such dependence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.types import Spec
from redraft.nets.blocks import in_float32
from redraft.nets.parts import Energy, Initializer

Layers = tuple[tuple[int, int, int], ...]  # (channels, kernel, stride) of each convolution
SCENE: Layers = ((64, 5, 2), (128, 3, 2), (256, 3, 1))
MNIST: Layers = ((64, 4, 2), (128, 4, 2), (256, 4, 2))
PICTURE: Layers = ((64, 4, 2), (128, 4, 2), (256, 4, 2), (512, 4, 2))


def classic_solver(spec: Spec) -> Descriptor:
    """The papers' descriptor for these spaces."""
    if spec.condition == "picture":
        return Descriptor(spec, PICTURE, enters=0)
    if spec.condition == "category":
        return Descriptor(spec, SCENE, enters=2)
    return Descriptor(spec, MNIST if spec.size <= 28 else SCENE)


def classic_initializer(spec: Spec) -> Generator | ResNetGenerator:
    """The papers' generator for these spaces."""
    if spec.condition == "picture":
        return ResNetGenerator(spec)
    return Generator(spec)


class Descriptor(Energy):
    """E = −f, where f is the sum of the 100 channels that a head over the whole map puts out.

    The condition, a picture or a category on every pixel, is concatenated before the convolution
    number ``enters``. That is the sum of two convolutions, so c's is computed once, in ``encode``.
    """

    def __init__(self, spec: Spec, layers: Layers, enters: int = 0) -> None:
        super().__init__()
        self.kind, self.classes, self.enters = spec.condition, spec.width, enters
        self.convs, self.sides = nn.ModuleList(), [spec.size]
        channels = spec.channels
        for width, kernel, stride in layers:
            self.convs.append(Conv(channels, width, kernel, stride))
            channels = width
            self.sides.append(-(-self.sides[-1] // stride))
        if spec.condition != "none":
            self.conv_c = Conv(spec.width, *layers[enters], bias=False)
        self.head = Conv(channels, 100, self.sides[-1])

    def encode(self, c: Tensor | None) -> tuple[Tensor, ...]:
        """The condition's share of the layer where it enters, ([N, C', H', W'],); () without one."""
        if c is None or self.kind == "none":
            return ()
        if self.kind == "category":
            side = self.sides[self.enters]
            c = F.one_hot(c, self.classes).to(self.head.weight.dtype)
            c = c[:, :, None, None].expand(-1, -1, side, side)
        return (self.conv_c(c),)

    def forward(self, x: Tensor, code: tuple[Tensor, ...]) -> Tensor:
        """x [N, C, H, W] -> E [N]."""
        for i, conv in enumerate(self.convs):
            x = conv(x)
            if code and i == self.enters:
                x = x + code[0]
            x = F.leaky_relu(x, 0.2, inplace=True)
        # the head as a matrix product: oneDNN is slow on maps of one pixel
        with in_float32(x):
            f = F.linear(x.to(self.head.weight.dtype).flatten(1), self.head.weight.flatten(1), self.head.bias)
            return -f.sum(1)


class Generator(Initializer):
    """[c; z] -> one dense layer to 3-4 px -> transposed convolutions that double -> tanh."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        sides = [spec.size]
        while sides[0] > 4:
            sides.insert(0, -(-sides[0] // 2))
        kernel, ups = 4 if spec.size <= 28 else 5, len(sides) - 1
        self.classes = spec.width
        if spec.condition == "none":
            self.z_shape, first, sd = (100,), 512, 0.005
            self.activation: Callable[[Tensor], Tensor] = partial(F.leaky_relu, negative_slope=0.2)
            norm = partial(BatchNorm, eps=1e-3, scale=False)  # tf.contrib's defaults
        else:
            self.z_shape, first, sd = (128,), min(64 << max(ups - 1, 0), 512), 0.01
            self.activation = F.relu
            norm = partial(BatchNorm, eps=1e-5, scale=True)
        widths = [max(first >> i, 64) for i in range(ups)] + [spec.channels]
        inputs = self.z_shape[0] + spec.width
        self.ups = nn.ModuleList([Deconv(inputs, widths[0], sides[0], 1, sides[0], sd)])
        for a, b, side in zip(widths, widths[1:], sides[1:], strict=False):
            self.ups.append(Deconv(a, b, kernel, 2, side, sd))
        self.norms = nn.ModuleList(norm(width) for width in widths[:-1])

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        """z [N, 100 or 128], c [N] or None -> [N, C, H, W] in [-1, 1]."""
        if c is not None:
            z = torch.cat([F.one_hot(c, self.classes).to(z.dtype), z], 1)
        h = self.ups[0](z[:, :, None, None])
        for norm, up in zip(self.norms, self.ups[1:], strict=True):
            h = up(self.activation(norm(h)))
        return torch.tanh(h.float())


class ResNetGenerator(Initializer):
    """c -> two strided layers -> six residual blocks, + z as a bias -> two doublings -> tanh.

    The release draws z with sd 0.003 in training and 1 in its test; here it is N(0, I) in both.
    """

    z_shape = (128,)

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        half = -(-spec.size // 2)
        self.down = nn.Sequential(
            *(nn.ReflectionPad2d(3), Conv(spec.width, 32, 7, same=False), InstanceNorm(32), nn.ReLU()),
            *(Conv(32, 64, 3, 2), InstanceNorm(64), nn.ReLU()),
            *(Conv(64, 128, 3, 2), InstanceNorm(128), nn.ReLU()),
        )
        self.blocks = nn.Sequential(*(Residual(128) for _ in range(6)))
        self.up = nn.Sequential(
            *(Deconv(128, 64, 3, 2, half), InstanceNorm(64), nn.ReLU()),
            *(Deconv(64, 32, 3, 2, spec.size), InstanceNorm(32), nn.ReLU()),
            *(nn.ReflectionPad2d(3), Conv(32, spec.channels, 7, same=False)),
        )

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """z [N, 128], c [N, Cc, H, W] -> [N, C, H, W] in [-1, 1]."""
        h = self.blocks(self.down(c)) + z[:, :, None, None]
        return torch.tanh(self.up(h).float())


class Residual(nn.Module):
    """x + (3x3, norm, ReLU, 3x3, norm)(x), with reflected edges."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.ReflectionPad2d(1), Conv(channels, channels, 3, same=False), InstanceNorm(channels)),
            *(nn.ReLU(), nn.ReflectionPad2d(1), Conv(channels, channels, 3, same=False)),
            InstanceNorm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Conv(nn.Conv2d):
    """A convolution with TensorFlow's SAME edges (or none), weights N(0, 0.01²) and biases 0."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, bias: bool = True, same: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=bias)
        self.same = same
        _initialise(self, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        if not self.same:
            return super().forward(x)
        before, after = same_edges(x.shape[-1], self.kernel_size[0], self.stride[0])
        if before != after:
            x, before = F.pad(x, (before, after, before, after)), 0
        return F.conv2d(x, self.weight, self.bias, self.stride, before)


class Deconv(nn.ConvTranspose2d):
    """The transpose of a SAME convolution that starts from ``size`` px; weights N(0, sd²), biases 0."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, size: int, sd: float = 0.01
    ) -> None:
        # from one pixel to a map of the kernel's size: TensorFlow's VALID
        before = 0 if stride == 1 else same_edges(size, kernel, stride)[0]
        super().__init__(inputs, outputs, kernel, stride, before)
        self.size = size
        _initialise(self, sd)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(x, output_size)[..., : self.size, : self.size]


class BatchNorm(nn.Module):
    """Normalisation by the statistics of this batch, in training and after it."""

    def __init__(self, channels: int, *, eps: float, scale: bool) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if scale else None
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)


class InstanceNorm(nn.InstanceNorm2d):
    """Its scale starts at N(0, 0.01²), not at 1, as released: a residual block then starts as x + ~0."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)
        nn.init.normal_(self.weight, 0, 0.01)


def same_edges(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """How many zeros TensorFlow's SAME puts before and after ``size`` px."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _initialise(layer: nn.Conv2d | nn.ConvTranspose2d, sd: float) -> None:
    nn.init.normal_(layer.weight, 0, sd)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
