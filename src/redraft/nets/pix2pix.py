"""The networks that pix2pix published: its U-Net and its PatchGAN, tensor by tensor.

Isola, Zhu, Zhou, Efros. "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
arXiv:1611.07004; layers as in the authors' pytorch-CycleGAN-and-pix2pix (``UnetGenerator``,
``NLayerDiscriminator``), whose files ``unet_state`` and ``patchgan_state`` rename.

Normalisation. The release trains with batch normalisation on batches of one picture, which is instance
normalisation with a scale and a shift; that is what is meant here, so that no picture depends on the
others of its batch. Files of the release that used running statistics, or ``--norm instance``, have the
other two kinds of ``Norm``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.core.types import Spec
from redraft.nets.blocks import halvings, in_float32
from redraft.nets.parts import Code, Energy, Initializer
from redraft.nets.small_maps import Conv, ConvTranspose

Norm = Literal["instance", "running", "plain"]
"""instance: of each picture, scale and shift. running: batch normalisation as after training, by the
statistics in the file, which stay as they are. plain: of each picture, without scale and shift; the
convolutions have biases instead (``--norm instance`` of the release)."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
DEEPEST = 8  # halvings of unet_256, the release's deepest


class PublishedUNet(Initializer):
    """c [N, Cc, S, S] -> x [N, C, S, S] in [-1, 1]; deterministic, unless ``dropout``.

    4x4 convolutions that halve, down to one pixel or an odd side (at most eight, or ``downs`` of them:
    7 is the release's unet_128, 8 its unet_256), and as many transposed ones that double, each beside the
    map of its size from the way down. S must be divisible by 4.

    ``dropout``: half of the numbers of the innermost up layers are left out, in training and after it, as
    published: that is pix2pix's noise. Which ones is said by z ~ N(0, I) alone (kept and doubled where
    z > 0), so that a draft can be made again. The release has such layers from 64 px on; smaller networks
    leave out of their innermost one.
    """

    def __init__(
        self,
        spec: Spec,
        width: int = 64,
        dropout: bool = False,
        *,
        norm: Norm = "instance",
        downs: int | None = None,
    ) -> None:
        super().__init__()
        depth = min(halvings(spec.size, smallest=1), DEEPEST) if downs is None else downs
        if depth < 2 or spec.size % 2**depth:
            raise UsageError(
                f"pix2pix's U-Net needs a size divisible by {2 ** max(depth, 2)}, not {spec.size}."
            )
        bias, channels = norm == "plain", [min(width * 2**i, width * 8) for i in range(depth)]
        into, out = [spec.width, *channels[:-1]], [spec.channels, *channels[:-1]]
        above = [2 * n for n in channels[:-1]] + channels[-1:]  # what an up layer reads: its own and a skip
        self.down = nn.ModuleList(Conv(a, b, 4, 2, 1, bias=bias) for a, b in zip(into, channels, strict=True))
        self.up = nn.ModuleList(
            ConvTranspose(a, b, 4, 2, 1, bias=bias or i == 0)
            for i, (a, b) in enumerate(zip(above, out, strict=True))
        )
        self.down_norms = nn.ModuleList(_norm(norm, n) for n in channels[1:-1])  # not of the first and last
        self.up_norms = nn.ModuleList(_norm(norm, n) for n in out[1:])
        noisy = (list(range(4, depth - 1)) or [depth - 1]) if dropout else []
        self.noisy = {i: (out[i], spec.size >> i, spec.size >> i) for i in noisy}
        self.z_shape = (sum(prod(shape) for shape in self.noisy.values()),)
        _initialise(self)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """z [N, *z_shape] (nothing in it without ``dropout``), c [N, Cc, S, S] -> [N, C, S, S]."""
        masks = self._masks(z)
        skips, h = [], self.down[0](c)
        for i, down in enumerate(self.down[1:]):
            skips.append(F.leaky_relu(h, 0.2, inplace=True))  # its relu is that of h
            h = down(skips[-1])
            if i < len(self.down_norms):
                h = self.down_norms[i](h)
        for i in range(len(self.up) - 1, 0, -1):
            h = self.up_norms[i - 1](self.up[i](F.relu(h, inplace=True)))
            if i in masks:
                h = h * masks[i]
            h = torch.cat([skips.pop(), h], 1)
        h = self.up[0](F.relu(h, inplace=True))
        return torch.tanh(h.to(torch.promote_types(h.dtype, torch.float32)))

    def _masks(self, z: Tensor) -> dict[int, Tensor]:
        """0 or 2 for every number of the noisy layers, by layer."""
        parts = z.split([prod(shape) for shape in self.noisy.values()], 1) if self.noisy else ()
        return {
            i: 2.0 * (part > 0).view(-1, *shape)
            for (i, shape), part in zip(self.noisy.items(), parts, strict=True)
        }


class PatchGAN(Energy):
    """Logits of overlapping patches, of 70 px with ``layers`` = 3; E = minus their mean.

    A picture condition is seen beside the picture: its share of the first convolution is computed once,
    in ``encode``. Of pictures below 24 px the map would vanish: they get fewer layers, from 8 px on.
    """

    def __init__(self, spec: Spec, width: int = 64, layers: int = 3, *, norm: Norm = "instance") -> None:
        super().__init__()
        if spec.condition == "category":
            raise UsageError("patchgan sees pictures: it needs a picture condition or none, not categories.")
        if spec.size < 8:
            raise UsageError(f"patchgan needs pictures of 8 px or more, not {spec.size}.")
        while spec.size >> layers < 3:
            layers -= 1
        channels = [width * min(2**i, 8) for i in range(layers + 1)]
        self.stem = nn.Conv2d(spec.channels, width, 4, 2, 1)
        if spec.condition == "picture":
            self.stem_c = nn.Conv2d(spec.width, width, 4, 2, 1, bias=False)
        self.convs = nn.ModuleList(
            Conv(a, b, 4, 2 if i < layers else 1, 1, bias=norm == "plain")
            for i, (a, b) in enumerate(zip(channels, channels[1:], strict=False), 1)
        )
        self.norms = nn.ModuleList(_norm(norm, n) for n in channels[1:])
        self.out = nn.Conv2d(channels[-1], 1, 4, 1, 1)
        _initialise(self)

    def encode(self, c: Tensor | None) -> Code:
        """c [N, Cc, S, S] -> ([N, width, S/2, S/2],); () where the spec has no condition."""
        return (self.stem_c(c),) if hasattr(self, "stem_c") else ()

    def logits(self, x: Tensor, code: Code) -> Tensor:
        """x [N, C, S, S] -> [N, h, w], higher = more like the data; 30 x 30 of them at 256 px."""
        h = self.stem(x)
        if code:
            h = h + code[0]
        h = F.leaky_relu(h, 0.2, inplace=True)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.leaky_relu(norm(conv(h)), 0.2, inplace=True)
        with in_float32(h):
            return self.out(h.to(self.out.weight.dtype)).squeeze(1)

    def forward(self, x: Tensor, code: Code) -> Tensor:
        return -self.logits(x, code).flatten(1).mean(1)


# ---- files of the release


def unet_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ``UnetGenerator``'s tensors under the names of ``PublishedUNet``; others keep theirs.

    One to one: ``load_state_dict`` of a network of the same depth, width and norm takes the result whole.
    Running statistics fit norm "running" only; ``without_statistics`` the same tensors fit "instance".
    Layer i of the release lies inside layer i - 1, so its name is a path.
    """
    depth = sum(name.endswith("weight") and tensor.ndim == 4 for name, tensor in state.items()) // 2
    renamed: dict[str, str] = {}
    for i in range(depth):
        path = "model.model." + "1.model." * (i > 0) + "3.model." * (i - 1)
        first, last = i == 0, i == depth - 1
        down, up = (0, 3) if first else (1, 3) if last else (1, 5)
        renamed |= {f"{path}{down}.": f"down.{i}.", f"{path}{up}.": f"up.{i}."}
        if not first:
            renamed[f"{path}{up + 1}."] = f"up_norms.{i - 1}."
        if not first and not last:
            renamed[f"{path}2."] = f"down_norms.{i - 1}."
    return _rename(state, renamed)


def patchgan_state(state: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """An ``NLayerDiscriminator``'s tensors under the names of ``PatchGAN``.

    ``channels`` of the picture: the first kernel reads condition and picture concatenated in this order,
    and is cut in two (0 of the condition: left whole).
    """
    convs = [name[:-6] for name, t in state.items() if name.endswith(".weight") and t.ndim == 4]
    renamed = {convs[0]: "stem.", convs[-1]: "out."}
    for i, name in enumerate(convs[1:-1]):
        after = f"model.{int(name.split('.')[1]) + 1}."
        renamed |= {name: f"convs.{i}.", after: f"norms.{i}."}
    made = _rename(state, renamed)
    given = made["stem.weight"].shape[1] - channels
    if given:
        made["stem_c.weight"], made["stem.weight"] = made["stem.weight"].split([given, channels], 1)
    return made


def without_statistics(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For norm "instance", from a file with statistics: what the release's test does without --eval."""
    return {name: t for name, t in state.items() if not name.endswith(STATISTICS)}


def _rename(state: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    parted = ((name, *name.rpartition(".")[::2], tensor) for name, tensor in state.items())
    return {
        prefixes[path + "."] + leaf if path + "." in prefixes else name: tensor
        for name, path, leaf, tensor in parted
    }


# ---- parts


class Running(nn.BatchNorm2d):
    """Batch normalisation by the statistics it came with, in training too."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def _norm(kind: Norm, channels: int) -> nn.Module:
    if kind == "running":
        return Running(channels)
    # groups of one channel are instance normalisation, two to three times as fast on a CPU
    return nn.GroupNorm(channels, channels, affine=kind == "instance")


def _initialise(net: nn.Module) -> None:
    """N(0, 0.02²) for kernels, N(1, 0.02²) for scales, 0 for biases and shifts, as published."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0, 0.02)
        elif isinstance(layer, nn.GroupNorm | nn.BatchNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1, 0.02)
    for name, tensor in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(tensor)
