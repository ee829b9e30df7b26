"""What of a picture is still there in another one: simple numbers, correlated over pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from redraft.spaces.pixels import luma


def statistics(x: Tensor) -> dict[str, Tensor]:
    """Simple numbers [N] of pictures: grey ones are things on black, coloured ones fill the picture."""
    ink = (luma(x.double())[:, 0] + 1) / 2
    texture = ink.diff(dim=1).abs().mean((1, 2)) + ink.diff(dim=2).abs().mean((1, 2))
    if x.shape[1] == 3:
        r, g, b = x.double().mean((2, 3)).unbind(1)
        about = {"brightness": ink.mean((1, 2)), "contrast": ink.flatten(1).std(1)}
        return about | {"red–green": r - g, "yellow–blue": (r + g) / 2 - b, "texture": texture}
    thing = (ink > 0.1).double()
    size, weight = thing.sum((1, 2)).clamp_min(1), ink.sum((1, 2)).clamp_min(1e-6)
    place = torch.linspace(-1, 1, ink.shape[-1], dtype=ink.dtype)
    down, across = ((ink.sum(d) * place).sum(1) / weight for d in (2, 1))
    v, u = place[None, :, None] - down[:, None, None], place[None, None, :] - across[:, None, None]
    height, width, lean = ((ink * m).sum((1, 2)) / weight for m in (v * v, u * u, u * v))
    about = {
        "brightness": (ink * thing).sum((1, 2)) / size,
        "area": size / ink[0].numel(),
        "width": width.sqrt(),
    }
    about |= {"height": height.sqrt(), "slant": lean / height.clamp_min(1e-6)}
    return about | {"texture": texture * ink[0].numel() / size}


def cleared(values: Tensor, known: Tensor) -> Tensor:
    """[N, K] less what ``known`` [N, G] tells of them by least squares."""
    return values - known.double() @ (torch.linalg.pinv(known.double()) @ values)


def content(made: Tensor, x: Tensor, known: Tensor, order: Tensor | None = None) -> dict[str, Tensor]:
    """A value a picture [N], whose mean is the partial correlation of ``made`` and ``x``, given ``known``.

    ``content`` is the mean of those of ``statistics``, ``layout`` that of all 8 x 8 px pictures. With
    ``order`` picture i is held against x of row order[i].
    """
    order = torch.arange(len(x)) if order is None else order
    ours, theirs = statistics(made), statistics(x)
    each = {n: _score(ours[n], known) * _score(theirs[n], known)[order] for n in ours}
    p, q = (cleared(F.adaptive_avg_pool2d(y.double(), 8).flatten(1), known) for y in (made, x))
    scale = [y.square().sum(1).mean().sqrt().clamp_min(1e-6) for y in (p, q)]
    layout = (p * q[order]).sum(1) / (scale[0] * scale[1])
    return {"content": torch.stack(list(each.values())).mean(0), "layout": layout, **each}


def _score(values: Tensor, known: Tensor) -> Tensor:
    left = cleared(values[:, None], known)[:, 0]
    return left / left.square().mean().sqrt().clamp_min(1e-6)


def strangers(labels: Tensor) -> Tensor:
    """For each row another one of the same label, where there is one."""
    order = labels.argsort(stable=True)
    place = torch.empty_like(order)
    for k in labels.unique():
        rows = order[labels[order] == k]
        place[rows] = rows.roll(1)
    return place
