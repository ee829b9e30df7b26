"""LoRA: a large denoiser learns through thin adapters beside its attention's weights, which stay as they are.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, arXiv:2106.09685, by peft:
W + B A with B and A of rank r, B zero at first, so that nothing changes before training. Adapters are there
while training goes on; ``merge`` adds them to the weights, and the network is an ordinary one again.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import nn

from redraft.core.errors import UsageError
from redraft.nets.experts.hugging import drawn_alike, quiet

GET = 'pip install "redraft[lora]"'
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")  # diffusers' names in attention
OURS = ".processor."  # in names of layers that were added to a network here, which learn as they are


def adapt(net: nn.Module, rank: int) -> None:
    """From now on adapters of this rank learn in a network of diffusers, and its own weights do not.

    Layers that this house has added to it learn on. UsageError without peft, for a rank below 1 or above the
    attention's width, and for a network without attention.
    """
    if rank < 1:
        raise UsageError(f"The rank of LoRA's adapters is at least 1, not {rank}.")
    if importlib.util.find_spec("peft") is None:
        raise UsageError(f"LoRA needs peft, which is missing: {GET}; or let all weights learn.")
    if not any(name.endswith(TARGETS) for name, _ in net.named_modules()):
        raise UsageError("This denoiser has no attention, to which LoRA adds: let all weights learn.")
    if rank > (widest := max(min(net.get_parameter(f"{n}.weight").shape) for n in _targets(net))):
        raise UsageError(
            f"Adapters of rank {rank} are no thinner than this denoiser's attention, of width {widest}: set "
            f"networks.lora to {widest} at most, or to 0, where all weights learn."
        )
    added = [p for name, p in net.named_parameters() if OURS in name and p.requires_grad]
    with quiet(), drawn_alike():
        from peft import LoraConfig, inject_adapter_in_model

        # alpha = r: the adapters' sum is added as it is
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=_targets(net)), net)
    for p in added:
        p.requires_grad_(True)


@torch.no_grad()
def merge(net: nn.Module) -> None:
    """Add what adapters have learnt to the weights and take them away; all weights can learn again."""
    for name, layer in _adapted(net):
        with quiet():
            layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(net.get_submodule(parent), child, layer.get_base_layer())
    if hasattr(net, "peft_config"):
        del net.peft_config
    net.requires_grad_(True)


def _targets(net: nn.Module) -> list[str]:
    """Full names of the attention's layers that have been trained elsewhere."""
    return [
        n for n, m in net.named_modules() if n.endswith(TARGETS) and OURS not in n and type(m) is nn.Linear
    ]


def _adapted(net: nn.Module) -> list[tuple[str, Any]]:
    return [(n, m) for n, m in net.named_modules() if hasattr(m, "lora_A") and hasattr(m, "get_base_layer")]
