"""What depends on an example alone is computed once for each, however often it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from redraft.evaluation.features import Features
from redraft.evaluation.fit import cached, content_key

MOST = 60_000  # examples that are remembered


class Once:
    """x [N, ...] -> [N, ...], row by row, N at least 1; ``f`` sees each distinct row once.

    Of more than ``MOST`` those asked for last are remembered.
    """

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        self.f = f
        self.rows: dict[bytes, Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        keys = _keys(x)
        new: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in self.rows:
                new.setdefault(key, i)
        if new:
            self.rows.update(zip(new, self.f(x[list(new.values())]), strict=True))
        for key in dict.fromkeys(keys):
            self.rows[key] = self.rows.pop(key)  # asked for last
        found = [self.rows[key] for key in keys]
        for key in list(self.rows)[: max(0, len(self.rows) - MOST)]:
            del self.rows[key]
        return torch.stack(found).to(x.device)


class OnceSeen:
    """Features that look at each picture once; of real pictures also once for all runs (``keep``)."""

    def __init__(self, features: Features) -> None:
        self.name, self.features = features.name, features
        self.seen = Once(features)

    def __call__(self, x: Tensor) -> Tensor:
        return self.seen(x)

    def keep(self, x: Tensor, folder: Path) -> None:
        """Read from ``folder`` what was seen of pictures x [N, C, H, W], or look at them and write it there.

        For features that their name describes fully: those of a judge trained here are not to be kept.
        """
        rows = _Rows(len(x), self.features(x[:1]).shape[1])

        def look() -> None:
            rows.seen.copy_(self.features(x))

        name = "features-" + "".join(c if c.isalnum() else "-" for c in self.name)
        cached(rows, folder, content_key(name, x), look)
        self.seen.rows.update(zip(_keys(x), rows.seen, strict=True))


class _Rows(nn.Module):
    seen: Tensor

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(n, width))


def _keys(x: Tensor) -> list[bytes]:
    """A key for each row, by its content and form."""
    form = hashlib.blake2b(repr((x.dtype, x.shape[1:])).encode(), digest_size=16)
    keys = []
    for row in x.detach().cpu():
        digest = form.copy()
        digest.update(row.contiguous().numpy().tobytes())
        keys.append(digest.digest())
    return keys
