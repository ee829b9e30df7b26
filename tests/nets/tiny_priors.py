"""Tiny diffusion models, made by diffusers on the spot and saved as users' are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from redraft.nets.experts.hugging import quiet

KINDS = ("UNet2DModel", "UNet2DConditionModel", "PixArtTransformer2DModel")
BLOCKS = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 4}


def diffusers() -> Any:
    return pytest.importorskip("diffusers", reason="an extra: redraft[diffusion]")


def net(kind: str = "UNet2DModel", channels: int = 3, size: int = 16, **settings: Any) -> Any:
    """A network of so few weights that a test can train it."""
    own: dict[str, dict[str, Any]] = {
        "UNet2DModel": {
            **BLOCKS,
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        },
        "UNet2DConditionModel": {
            **BLOCKS,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 12,
        },
        "PixArtTransformer2DModel": {
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "num_layers": 1,
            "cross_attention_dim": 16,
            "caption_channels": 12,
        },
    }
    given = {"in_channels": channels, "out_channels": channels, "sample_size": size, **own[kind], **settings}
    with quiet("diffusers"):
        return getattr(diffusers(), kind)(**given)


def scheduler(kind: str = "DDPMScheduler", **settings: Any) -> Any:
    with quiet("diffusers"):
        return getattr(diffusers(), kind)(num_train_timesteps=100, **settings)


def vae(channels: int = 4) -> Any:
    with quiet("diffusers"):
        return diffusers().AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            latent_channels=channels,
            scaling_factor=0.25,
        )


def alone(folder: Path, network: Any | None = None, noise: Any | None = None) -> Path:
    """One folder that holds a network and its scheduler."""
    with quiet("diffusers"):
        (net() if network is None else network).save_pretrained(folder)
        (scheduler() if noise is None else noise).save_pretrained(folder)
    return folder


def pipeline(folder: Path, **parts: Any) -> Path:
    """A pipeline's folder, a part in each of its folders."""
    for name, part in parts.items():
        with quiet("diffusers"):
            part.save_pretrained(folder / name)
    index = {name: ["diffusers", type(part).__name__] for name, part in parts.items()}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **index}))
    return folder
