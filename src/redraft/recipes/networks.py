"""Which networks, how wide: settings -> modules with fresh weights."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from typing import Literal

import torch

from redraft.core.errors import UsageError
from redraft.core.types import Spec
from redraft.nets.autoencoder import AutoencoderConfig, AutoencoderNet
from redraft.nets.condition_encoder import ConditionEncoder, EncoderConfig
from redraft.nets.denoiser import Denoiser, DenoiserConfig
from redraft.nets.flow import Flow, FlowConfig
from redraft.nets.foreign import Foreign, make
from redraft.nets.parts import Energy, Initializer


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Which networks, and how wide; depth follows the picture's size."""

    solver: Literal["modern", "residual", "style", "patchgan", "classic"] = "modern"
    initializer: Literal[
        "modern",
        "residual",
        "style",
        "resnet",
        "pix2pix",
        "cut",
        "flow",
        "denoiser",
        "autoencoder",
        "classic",
        "foreign",
    ] = "modern"
    solver_width: int = 24
    initializer_width: int = 16
    z: int = 64  # numbers of noise, where the initializer starts from nothing or a category
    style: int = 0  # numbers of noise that set colour and light, where it starts from a picture
    noise: bool = True  # initializer modern: white noise in each layer, where it starts from a picture
    dropout: bool = False  # initializer pix2pix: the published noise, three layers of dropout, drawn from z
    flow: FlowConfig = FlowConfig()  # of initializer flow
    denoiser: DenoiserConfig = DenoiserConfig()  # of initializer denoiser
    encoder: EncoderConfig = EncoderConfig()  # of method piti: what a condition is told by
    upsampler: DenoiserConfig = DenoiserConfig()  # of method piti, where pictures are larger than a prior's
    lora: int = 0  # of method piti: rank of the adapters through which alone a large prior learns; 0: none
    autoencoder: AutoencoderConfig = AutoencoderConfig()  # of initializer autoencoder
    foreign: Foreign | None = None  # where the initializer came from, when it was trained elsewhere

    def __post_init__(self) -> None:
        self.denoiser.refuse("networks.denoiser")
        self.upsampler.refuse("networks.upsampler")


GIVEN = {  # what a network starts from
    "residual": "nothing, a category or words",
    "style": "nothing, a category or words",
    "resnet": "a picture",
    "pix2pix": "a picture",
    "cut": "a picture",
}


def make_solver(cfg: Networks, spec: Spec) -> Energy:
    """E(x, c) for the spaces of ``spec``; UsageError where network and condition do not go together."""
    if cfg.solver_width < 4 or cfg.initializer_width < 4 or cfg.z < 1:
        raise UsageError("Networks need widths of at least 4 and a z of at least 1.")
    _fit("solver", cfg.solver, spec)
    if not spec.paired:  # the given picture is not the truth's: nothing to see beside it
        spec = replace(spec, condition="none", width=0)
    if cfg.solver == "classic":
        from redraft.nets.classic import classic_solver

        return classic_solver(spec)
    if cfg.solver == "residual":
        from redraft.nets.residual import ResidualEnergy

        return ResidualEnergy(spec, cfg.solver_width)
    if cfg.solver == "style":
        from redraft.nets.stylegan import StyleEnergy

        return StyleEnergy(spec, cfg.solver_width)
    if cfg.solver == "patchgan":
        from redraft.nets.pix2pix import PatchGAN

        return PatchGAN(spec, cfg.solver_width)
    if spec.size == 1:
        from redraft.nets.vectors import VectorEnergy

        return VectorEnergy(spec, cfg.solver_width)
    from redraft.nets.energy import GlobalEnergy, PatchEnergy

    kind = PatchEnergy if spec.condition == "picture" else GlobalEnergy
    return kind(spec, cfg.solver_width)


def make_initializer(cfg: Networks, spec: Spec) -> Initializer:
    """g(z, c) for the spaces of ``spec``; UsageError where network and condition do not go together."""
    _fit("initializer", cfg.initializer, spec)
    kind, width = cfg.initializer, cfg.initializer_width
    if kind == "classic":
        from redraft.nets.classic import classic_initializer

        return classic_initializer(spec)
    if kind == "residual":
        from redraft.nets.residual import ResidualDecoder

        return ResidualDecoder(spec, width, cfg.z)
    if kind == "style":
        from redraft.nets.stylegan import StyleDecoder

        return StyleDecoder(spec, width, cfg.z)
    if kind == "resnet":
        from redraft.nets.resnet import ResNet

        return ResNet(spec, width, cfg.style)
    if kind == "pix2pix":
        from redraft.nets.pix2pix import PublishedUNet

        return PublishedUNet(spec, width, dropout=cfg.dropout)
    if kind == "cut":
        from redraft.nets.cut import Translator

        return Translator(spec, width, heads=0 if spec.paired else 256)  # only cut has a use for heads
    if kind == "flow":
        return make_flow(cfg, spec)
    if kind == "denoiser":
        raise UsageError(
            "networks.initializer=denoiser is no drafter in one pass; it is for method diffusion."
        )
    if kind == "autoencoder":
        return AutoencoderNet(spec, cfg.autoencoder)
    if kind == "foreign":
        if cfg.foreign is None:
            raise UsageError("networks.initializer=foreign is what --initializer MODEL sets; leave it out.")
        return make(cfg.foreign, spec)
    if spec.size == 1:
        from redraft.nets.vectors import VectorDecoder

        return VectorDecoder(spec, width, cfg.z)
    if spec.condition == "picture":
        from redraft.nets.unet import UNet

        return UNet(spec, width, cfg.style, cfg.noise)
    from redraft.nets.decoder import Decoder

    return Decoder(spec, width, cfg.z)


def make_flow(cfg: Networks, spec: Spec) -> Flow:
    """tau for the spaces of ``spec``; UsageError where a library is not there."""
    if cfg.flow.coupling == "spline" and importlib.util.find_spec("zuko") is None:
        raise UsageError('networks.flow.coupling=spline needs zuko: pip install "redraft[flow]".')
    return Flow(spec, cfg.flow)


def make_denoiser(cfg: Networks, spec: Spec) -> Denoiser:
    """The denoiser of pictures of ``spec``; UsageError where it cannot be told the condition."""
    if spec.condition not in ("none", "category"):
        raise UsageError(
            f"A denoiser learns pictures alone or of a category, and not of a {spec.condition}: "
            "leave condition.expert out."
        )
    kind, config, patch = cfg.denoiser.of(spec)
    return Denoiser.of(kind, config, spec, patch=patch)


def make_upsampler(cfg: Networks, spec: Spec) -> tuple[Denoiser, ConditionEncoder]:
    """What enlarges pictures to those of ``spec``, and what tells it the condition."""
    kind, config, patch = cfg.upsampler.of(spec, beside=spec.channels, key="networks.upsampler")
    net = Denoiser.of(kind, config, spec, patch=patch, beside=spec.channels)
    last = net.net.conv_out if hasattr(net.net, "conv_out") else net.net.proj_out
    for p in last.parameters():  # at first what can be said without it is all that is said
        torch.nn.init.zeros_(p)
    return net, ConditionEncoder(spec, cfg.encoder, tokens=net.tokens, canvas=net.canvas)


def _fit(part: str, kind: str, spec: Spec) -> None:
    """Refuse a network that starts from something else than the task gives."""
    if kind == "patchgan" and spec.condition != "picture" and spec.condition != "none":
        raise UsageError("networks.solver=patchgan sees no category and no words; leave it at modern.")
    wanted = GIVEN.get(kind)
    if wanted and (wanted == "a picture") != (spec.condition == "picture"):
        raise UsageError(f"networks.{part}={kind} is for tasks that start from {wanted}; leave it at modern.")
