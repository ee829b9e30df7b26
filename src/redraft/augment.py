"""DiffAugment: the same differentiable augmentation on real and made pictures, for small data sets.

Zhao, Liu, Lin, Zhu, Han. "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS
2020, arXiv:2006.10738. Policy as published: colour (brightness ±0.5, saturation 0-2, contrast
0.5-1.5), translation (±1/8 of the side, zeros outside), cutout (a square of half the side).
As there, both players see augmented pictures alone: the solver's chain follows E(T(x)).

With a ``Chance`` the share of pictures that are augmented follows how surely the discriminator tells real
pictures: ADA (Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020,
arXiv:2006.06676), there with other transformations and a chance for each of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.rng import Noise

DRAWS = 7  # uniform numbers that decide one picture's augmentation
NONE = (0.5, 0.5, 0.5, 0.5, 0.5, -9.0, -9.0)  # draws that leave a picture as it is


def draw(n: int, rng: Noise, chance: Tensor | None = None) -> Tensor:
    """What decides T for n pictures: uniform on (0, 1), [n, 7]; each is left alone with 1 − ``chance``."""
    u = torch.special.ndtr(rng.normal(n, DRAWS))
    if chance is None:
        return u
    augmented = torch.special.ndtr(rng.normal(n, 1)) < chance
    return torch.where(augmented, u, u.new_tensor(NONE))


class Chance(nn.Module):
    """ADA's p in [0, 1], which one training step moves by the learning rate: up while D overfits, else down.

    Its loss has the gradient target − r, with r = mean sign D(real): under Adam a step is about as long as
    the rate, as ADA's fixed steps are, shorter where r swings about the target; and processes agree on it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.zeros(()))

    def forward(self) -> Tensor:
        return self.p.detach().clamp(0, 1)

    def loss(self, real: Tensor, target: float) -> Tensor:
        """``real``: logits of the real pictures [N, ...]; ``target``: the wanted r (ADA 0.6)."""
        r = real.detach().flatten(1).mean(1).sign().mean()
        inside = (self.p.detach() > 0) | (r > target)  # at an end there is no further
        inside = inside & ((self.p.detach() < 1) | (r < target))
        return self.p * (target - r) * inside


def diff_augment(x: Tensor, u: Tensor) -> Tensor:
    """T(x) of pictures x [N, C, H, W] with draws u [N, 7]; differentiable in x."""
    u = u.to(x.device).T
    return _cut(_shift(_colour(x, u[0], u[1], u[2]), u[3], u[4]), u[5], u[6])


def follow(c: Tensor | None, u: Tensor) -> Tensor | None:
    """The condition of T(x): a picture is moved and cut as x is (ours: the paper has no such conditions)."""
    if c is None or c.ndim != 4:
        return c
    u = u.to(c.device).T
    return _cut(_shift(c, u[3], u[4]), u[5], u[6])


def _colour(x: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    b, s, k = (v[:, None, None, None] for v in (brightness, saturation, contrast))
    x = x + (b - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * s)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (k + 0.5)


def _shift(x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Translation by a whole number of pixels, uniform in ±round(side / 8); zeros come in."""
    n, _, h, w = x.shape
    rows = _places(h, u, x.device)
    cols = _places(w, v, x.device)
    padded = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    batch = torch.arange(n, device=x.device)[:, None, None]
    return padded[batch, rows[:, :, None], cols[:, None]].permute(0, 3, 1, 2)


def _places(side: int, u: Tensor, device: torch.device) -> Tensor:
    """Which row of the picture, in a border of one zero, comes to each row: [N, side]."""
    most = int(side / 8 + 0.5)
    moved = (u * (2 * most + 1)).long().clamp_(max=2 * most) - most
    return (torch.arange(side, device=device) + moved[:, None]).clamp(-1, side) + 1


def _cut(x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """A square of half the side, centred anywhere, set to zero."""
    h, w = x.shape[-2:]
    y = torch.arange(h, device=x.device) - (u * h)[:, None]
    z = torch.arange(w, device=x.device) - (v * w)[:, None]
    hole = (y.abs() < h / 4)[:, :, None] & (z.abs() < w / 4)[:, None]
    return x.masked_fill(hole[:, None], 0.0)
