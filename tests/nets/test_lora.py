"""LoRA: nothing changes before training, thin matrices alone learn, and merged weights say the same."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch
from tiny_priors import KINDS, net
from torch import Tensor, nn

from redraft.core.errors import UsageError
from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.denoiser import Denoiser
from redraft.nets.lora import adapt, merge


def denoiser(kind: str) -> Denoiser:
    pytest.importorskip("peft", reason="an extra: redraft[lora]")
    network = net(kind)
    config = json.loads(json.dumps({k: v for k, v in network.config.items() if k[0] != "_"}))
    return Denoiser.of(kind, config, Spec(size=16, channels=3, condition="none")).eval()


def inputs(tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    rng = stream(1)
    return (
        torch.randn(2, 3, 16, 16, generator=rng),
        torch.tensor([3, 70]),
        torch.randn(2, 5, tokens, generator=rng),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_begin_at_nothing_learn_alone_and_merge(kind: str) -> None:
    mine = denoiser(kind)
    names, given = set(mine.state_dict()), inputs(mine.tokens)
    with torch.no_grad():
        before = mine(*given)
    adapt(mine.net, 2)
    with torch.no_grad():
        torch.testing.assert_close(mine(*given), before)
    learns = {n for n, p in mine.net.named_parameters() if p.requires_grad}
    assert learns and all("lora_" in n or ".processor." in n for n in learns)
    assert any("lora_" in n for n in learns) and not any(".processor." in n and "lora_" in n for n in learns)

    frozen = {n: p.clone() for n, p in mine.named_parameters() if not p.requires_grad}
    adam = torch.optim.Adam([p for p in mine.net.parameters() if p.requires_grad], 0.05)
    for _ in range(2):  # the first moves B alone, since it is zero
        adam.zero_grad()
        mine(*given).square().mean().backward()
        adam.step()
    with torch.no_grad():
        after = mine(*given)
    assert not torch.allclose(after, before, atol=1e-3)
    assert all(torch.equal(p, dict(mine.named_parameters())[n]) for n, p in frozen.items())

    merge(mine.net)
    assert set(mine.state_dict()) == names and all(p.requires_grad for p in mine.net.parameters())
    with torch.no_grad():
        torch.testing.assert_close(mine(*given), after, rtol=1e-4, atol=1e-5)


def test_adapters_are_drawn_alike_and_nobody_elses_dice_are_touched() -> None:
    one, other = denoiser("UNet2DConditionModel"), denoiser("UNet2DConditionModel")
    before = torch.get_rng_state()
    adapt(one.net, 2)
    adapt(other.net, 2)
    assert torch.equal(torch.get_rng_state(), before)
    a, b = ({n: p for n, p in d.net.named_parameters() if "lora_" in n} for d in (one, other))
    assert a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def test_a_network_without_adapters_is_merged_as_it_is() -> None:
    mine = denoiser("UNet2DModel")
    before = {k: t.clone() for k, t in mine.state_dict().items()}
    merge(mine.net)
    assert all(torch.equal(t, before[k]) for k, t in mine.state_dict().items())


def test_adapters_are_thinner_than_what_they_are_added_to() -> None:
    with pytest.raises(UsageError, match="of width 16: set networks.lora to 16 at most"):
        adapt(denoiser("UNet2DConditionModel").net, 100_000)


def test_what_cannot_be_adapted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="at least 1, not 0"):
        adapt(nn.Linear(2, 2), 0)
    with monkeypatch.context() as there:
        there.setattr(importlib.util, "find_spec", lambda name: name)
        with pytest.raises(UsageError, match="no attention"):
            adapt(nn.Linear(2, 2), 4)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"redraft\[lora\]"):
        adapt(nn.Linear(2, 2), 4)
