"""The residual GAN pair: spectral norms against the SVD, energies of one picture alone, conditions, reach."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from redraft.core.rng import stream
from redraft.core.types import Spec
from redraft.nets.residual import ResidualDecoder, ResidualEnergy


def spec(size: int, kind: str = "category", channels: int = 1) -> Spec:
    return Spec(size=size, channels=channels, condition=kind, width=3 if kind == "category" else 0)  # type: ignore[arg-type]


def pictures(n: int, size: int, channels: int = 1) -> Tensor:
    return torch.rand(n, channels, size, size, generator=stream(0)) * 2 - 1


def energy_of(kind: str = "category") -> ResidualEnergy:
    torch.manual_seed(0)
    return ResidualEnergy(spec(28, kind), 8)


@pytest.mark.parametrize("size", [16, 28, 32, 64, 128])
@pytest.mark.parametrize("kind", ["none", "category"])
def test_sizes_shapes_and_range(size: int, kind: str) -> None:
    torch.manual_seed(0)
    net, energy = ResidualDecoder(spec(size, kind, 3), 8, 16), ResidualEnergy(spec(size, kind, 3), 8)
    c = torch.tensor([0, 1]) if kind == "category" else None
    x = net(torch.randn(2, *net.z_shape, generator=stream(1)), c)
    assert x.shape == (2, 3, size, size) and x.abs().max() <= 1 and x.std() > 0.02
    assert energy.given(c)(x).shape == (2,)
    torch.testing.assert_close(
        energy.eval().logits(x, energy.encode(c)), -energy(x, energy.encode(c))[:, None]
    )


def test_every_weight_matrix_has_spectral_norm_1_after_training_steps() -> None:
    energy, x, c = energy_of(), pictures(4, 28), torch.tensor([0, 1, 2, 0])
    adam = torch.optim.Adam(energy.parameters(), 1e-3)
    for _ in range(30):
        adam.zero_grad()
        (energy.given(c)(x).mean() - energy.given(c)(-x).mean()).backward()
        adam.step()
    for _ in range(20):  # weights at rest: power iteration converges
        energy.given(c)(x)
    weighted = [m for m in energy.modules() if hasattr(m, "weight") and not isinstance(m, nn.ModuleDict)]
    bare = [p for name, p in energy.named_parameters() if not name.endswith(("bias", "original"))]
    assert len(weighted) == 10 and not bare  # 3 + 3 + 2 convolutions, the score, the category's vectors
    for layer in weighted:
        assert torch.linalg.svdvals(layer.weight.flatten(1))[0].item() == pytest.approx(1, abs=0.02), layer


def test_in_eval_mode_an_energy_is_a_pure_function_of_one_picture() -> None:
    energy, x, c = energy_of().eval(), pictures(4, 28), torch.tensor([0, 1, 2, 0])
    whole = energy.given(c)(x)
    torch.testing.assert_close(energy.given(c)(x), whole, rtol=0, atol=0)
    for i in range(4):
        alone = energy.given(c[i : i + 1])(x[i : i + 1])
        torch.testing.assert_close(alone[0], whole[i], rtol=1e-4, atol=1e-5)


def test_a_made_picture_does_not_depend_on_its_neighbours_in_training_or_after() -> None:
    torch.manual_seed(0)
    net, c = ResidualDecoder(spec(28), 8, 16), torch.tensor([0, 1, 2])
    z = torch.randn(3, 16, generator=stream(1))
    whole = net(z, c)
    torch.testing.assert_close(net(z[1:2], c[1:2])[0], whole[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.eval()(z, c), whole)


def test_conditions_matter_and_none_are_taken_where_there_are_none() -> None:
    torch.manual_seed(0)
    net, energy, x = ResidualDecoder(spec(28), 8, 16), energy_of().eval(), pictures(3, 28)
    z, c = torch.randn(3, 16, generator=stream(1)), torch.tensor([0, 1, 2])
    assert (net(z, c) - net(z, c.roll(1))).abs().mean() > 1e-3
    assert (energy.given(c)(x) - energy.given(c.roll(1))(x)).abs().min() > 1e-5
    assert energy_of("none").encode(c) == ()


def test_the_score_differs_between_categories_by_the_projection() -> None:
    """f(x, c) − f(x, d) = (v_c − v_d) · φ(x): linear in the vectors, with the same φ for every pair."""
    energy, x = energy_of().eval(), pictures(5, 28)
    v = energy.encode(torch.arange(3))[0]
    f = torch.stack([-energy.given(torch.full((5,), k))(x) for k in range(3)])
    with torch.no_grad():
        mean = -energy(x, ((v[0] + v[1])[None].expand(5, -1) / 2,))
    torch.testing.assert_close((f[0] + f[1]) / 2, mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "category"])
def test_gradients_reach_every_weight(kind: str) -> None:
    torch.manual_seed(0)
    net, energy = ResidualDecoder(spec(28, kind), 8, 16), energy_of(kind)
    c = torch.arange(3) if kind == "category" else None
    energy.given(c)(net(torch.randn(3, 16, generator=stream(1)), c)).square().sum().backward()
    assert reached(net) and reached(energy)


def reached(net: nn.Module) -> bool:
    missed = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missed, missed
    return True


def test_half_precision_keeps_norms_and_energies_in_float32() -> None:
    energy, x, c = energy_of(), pictures(64, 28), torch.arange(64) % 3
    for _ in range(20):
        energy.given(c)(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        e = energy.given(c)(x)
    assert e.dtype == torch.float32 and len(e.unique()) > 48
    assert all(
        torch.linalg.svdvals(m.weight.flatten(1))[0].item() == pytest.approx(1, abs=0.02)
        for m in energy.modules()
        if hasattr(m, "parametrizations")
    )
