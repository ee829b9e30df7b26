"""What of a picture is still there in another one: simple numbers, correlated over pictures."""

from __future__ import annotations

import torch
from modes import line
from torch import Tensor
from torch.nn import functional as F

from redraft.evaluation.table import Interval, ends, resample, show
from redraft.spaces.pixels import luma

ROUNDS = 300  # of resampled pictures
Cells = dict[str, Tensor | Interval]  # a value a picture [N] or products [N, K, 3] of each measure; KID


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
    """Partial correlations of ``made`` and ``x``, given ``known``, as products [N, K, 3] (``correlated``).

    ``content`` is that of all ``statistics``, ``layout`` that of 8 x 8 px pictures. With ``order`` picture i
    is held against x of row order[i].
    """
    order = torch.arange(len(x)) if order is None else order

    def products(p: Tensor, q: Tensor) -> Tensor:
        p, q = cleared(p, known), cleared(q, known)[order]
        return torch.stack([p * q, p * p, q * q], -1)

    ours, theirs = statistics(made), statistics(x)
    each = {name: products(ours[name][:, None], theirs[name][:, None]) for name in ours}
    small = (F.adaptive_avg_pool2d(y.double(), 8).flatten(1) for y in (made, x))
    layout = products(*small).sum(1, keepdim=True)
    return {"content": torch.cat(list(each.values()), 1), "layout": layout, **each}


def correlated(products: Tensor) -> Tensor:
    """Sums over pictures [..., K, 3] of pq, p², q² -> their correlation, the mean of K: [...]."""
    pq, pp, qq = products.unbind(-1)
    return (pq / (pp * qq).sqrt().clamp_min(1e-9)).mean(-1)


def strangers(labels: Tensor) -> Tensor:
    """For each row another one of the same label, where there is one."""
    order = labels.argsort(stable=True)
    place = torch.empty_like(order)
    for k in labels.unique():
        rows = order[labels[order] == k]
        place[rows] = rows.roll(1)
    return place


def partners(n: int) -> Tensor:
    """For each of n pictures the one whose drawing it is given; far away, since neighbours are alike."""
    return torch.arange(n).roll(n // 2)


def over_runs(cells: list[Cells]) -> dict[str, Interval]:
    """Means over runs, pictures resampled alike in all; KID's ends are means of ends."""
    found = {}
    for name, first in cells[0].items():
        values = [c[name] for c in cells]
        if isinstance(first, Tensor):
            rows = resample(len(first), ROUNDS)
            draws = torch.stack([torch.stack([value(v[r]) for r in rows]) for v in values]).mean(0)
            middle = torch.stack([value(v) for v in values]).mean().item()
            found[name] = Interval(middle, *ends(draws))
        else:
            found[name] = Interval(*torch.tensor(values, dtype=torch.float64).mean(0).tolist())
    return found


def value(cell: Tensor) -> Tensor:
    """Of a value a picture [N] their mean, of products a picture [N, K, 3] their correlation."""
    return cell.double().mean() if cell.ndim == 1 else correlated(cell.sum(0))


def table(rows: dict[str, dict[str, Interval]]) -> str:
    """As Markdown, intervals in brackets."""
    names = list(next(iter(rows.values())))
    lines = [["", *names], ["---"] * (len(names) + 1)]
    lines += [[row, *(show(cells.get(name), 2) for name in names)] for row, cells in rows.items()]
    return "\n".join(map(line, lines)) + "\n"
