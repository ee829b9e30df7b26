"""pix2pix as its authors released it, written plainly: what the benchmark is measured against.

A port of the networks and of the order of a training step in pytorch-CycleGAN-and-pix2pix, with the names
and arguments of its ``models/networks.py``, so that a checkout of it can stand in: see ``checkout``.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]
Losses = tuple[float, float, float]  # the discriminator's, the generator's, its L1 term


class UnetGenerator(nn.Module):
    def __init__(self, input_nc: int, output_nc: int, num_downs: int, ngf: int, norm_layer: Norm) -> None:
        super().__init__()
        widths = [min(ngf * 2**i, ngf * 8) for i in range(num_downs)]
        level: Level | None = None
        for outer, inner in reversed(list(zip(widths, widths[1:], strict=False))):
            level = Level(outer, inner, outer, level, norm_layer)
        self.model = Level(output_nc, ngf, input_nc, level, norm_layer, outermost=True)

    def forward(self, c: Tensor) -> Tensor:
        return self.model(c)


class Level(nn.Module):
    """x -> [x, up(within(down(x)))]; the innermost has nothing within, the outermost no skip."""

    def __init__(
        self, outer: int, inner: int, given: int, within: Level | None, norm: Norm, outermost: bool = False
    ) -> None:
        super().__init__()
        self.outermost, bias = outermost, norm is nn.InstanceNorm2d
        down = nn.Conv2d(given, inner, 4, 2, 1, bias=bias)
        reads = inner if within is None else 2 * inner
        up = nn.ConvTranspose2d(reads, outer, 4, 2, 1, bias=bias or outermost)
        inside = [] if within is None else [within]
        if outermost:
            layers = [down, *inside, nn.ReLU(True), up, nn.Tanh()]
        else:
            after = [] if within is None else [norm(inner)]
            layers = [nn.LeakyReLU(0.2, True), down, *after, *inside, nn.ReLU(True), up, norm(outer)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class NLayerDiscriminator(nn.Module):
    def __init__(self, input_nc: int, ndf: int, n_layers: int, norm_layer: Norm) -> None:
        super().__init__()
        widths = [ndf * min(2**i, 8) for i in range(n_layers + 1)]
        layers: list[nn.Module] = [nn.Conv2d(input_nc, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False), 1):
            bias = norm_layer is nn.InstanceNorm2d
            conv = nn.Conv2d(a, b, 4, 2 if i < n_layers else 1, 1, bias=bias)
            layers += [conv, norm_layer(b), nn.LeakyReLU(0.2, True)]
        self.model = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, pair: Tensor) -> Tensor:
        return self.model(pair)


PORT = SimpleNamespace(UnetGenerator=UnetGenerator, NLayerDiscriminator=NLayerDiscriminator)


def checkout(folder: Path) -> ModuleType | SimpleNamespace:
    """``models/networks.py`` of a checkout of pytorch-CycleGAN-and-pix2pix, or of CUT's repository."""
    package = ModuleType("models")  # its own __init__ would import the whole program
    package.__path__ = [str(folder / "models")]
    sys.modules["models"] = package
    networks = importlib.import_module("models.networks")
    if "no_antialias" in inspect.signature(networks.NLayerDiscriminator).parameters:
        return SimpleNamespace(
            UnetGenerator=networks.UnetGenerator,
            NLayerDiscriminator=lambda *args: networks.NLayerDiscriminator(*args, no_antialias=True),
        )
    return networks


class Step:
    """``Pix2PixModel.optimize_parameters``, without dropout, so that losses can be compared.

    The release halves the discriminator's loss, which is nothing to Adam; here it is not halved.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, fused: bool | None = None) -> None:
        self.netG, self.netD = generator, discriminator
        self.adam_G, self.adam_D = (
            torch.optim.Adam(net.parameters(), 2e-4, betas=(0.5, 0.999), fused=fused)
            for net in (generator, discriminator)
        )

    def __call__(self, c: Tensor, x: Tensor) -> Losses:
        made = self.netG(c)

        self.netD.requires_grad_(True)
        self.adam_D.zero_grad()
        loss_fake = told(self.netD(torch.cat([c, made], 1).detach()), 0.0)
        loss_D = loss_fake + told(self.netD(torch.cat([c, x], 1)), 1.0)
        loss_D.backward()
        self.adam_D.step()

        self.netD.requires_grad_(False)
        self.adam_G.zero_grad()
        loss_GAN = told(self.netD(torch.cat([c, made], 1)), 1.0)
        loss_L1 = 100.0 * F.l1_loss(made, x)
        loss_G = loss_GAN + loss_L1
        loss_G.backward()
        self.adam_G.step()
        return loss_D.item(), loss_G.item(), loss_L1.item()


def told(logits: Tensor, truth: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))
