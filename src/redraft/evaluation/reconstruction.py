"""What an autoencoder loses: held-out pictures against what comes back of them, beside controls.

It bounds all that is made through the autoencoder's latent: nothing there can look better than this.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from redraft.evaluation.distances import FewPictures, frechet, nearest
from redraft.evaluation.features import Features
from redraft.evaluation.memory import low
from redraft.evaluation.paired import psnr, ssim
from redraft.evaluation.table import Interval, Measure, mean_interval, short

OURS = "reconstruction"
NEAREST_PICTURE = "nearest training picture"
BATCH = 64  # pictures a pass


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Rows of intervals by measure, as ``table.Scores`` has them, so that one table can hold both."""

    pictures: int  # held-out ones
    measures: tuple[Measure, ...]
    rows: dict[str, dict[str, Interval]]  # the reconstruction first, then controls
    shown: Tensor  # reconstructions of the first held-out pictures [N, C, H, W]

    def says(self) -> str:
        """The finding, in a sentence that belongs before all others."""
        ours, near = self.rows[OURS], self.rows[NEAREST_PICTURE]
        first = self.measures[0].name
        numbers = ", ".join(f"{m.name} {short(ours[m.name].value)}" for m in self.measures if m.name in ours)
        verdict = "no picture made through its latent can be truer than that"
        if ours[first].low <= near[first].high:
            verdict = (
                f"it is no truer than the nearest training picture ({first} {short(near[first].value)}), so "
                "it has not learnt to encode pictures yet: train longer, or give the latent more numbers"
            )
        return f"Held-out pictures come back from the latent with {numbers}; {verdict}."


def reconstruction(
    reconstruct: Callable[[Tensor], Tensor],
    train: Tensor,
    test: Tensor,
    features: Features,
    distance: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Reconstruction:
    """Measure ``reconstruct``: x [N, C, H, W] in [-1, 1] -> x̂ alike, on held-out pictures ``test``.

    Controls: the mean training picture, for each picture the nearest training picture, and as many training
    pictures as there are (for the Fréchet distance, which is above 0 for real pictures too). ``distance`` is
    LPIPS, where the user has it. Without it nothing perceptual is said of single pictures, but for the
    distance of features, in standard deviations of the real ones'.
    """
    if len(test) < 2 or len(train) < 2:
        raise ValueError("reconstruction is measured with two training and two held-out pictures or more")
    with torch.no_grad():
        made = torch.cat([reconstruct(part).clamp(-1, 1).to(test) for part in test.split(BATCH)])
    mean = train.mean(0, keepdim=True)
    _, index = nearest(low(test).double(), low(train).double())
    about = _About(test, features, distance)
    rows = {
        OURS: about.cells(made),
        "mean picture": about.cells(mean.expand_as(test)),
        NEAREST_PICTURE: about.cells(train[index]),
        "real, training": about.as_a_set(features(train[_over(len(train), len(test))])),
    }
    return Reconstruction(pictures=len(test), measures=about.measures(), rows=rows, shown=made)


def _over(total: int, n: int) -> list[int]:
    """At most n rows, evenly over all: folders are often in the order of their categories."""
    return [i * total // n for i in range(n)] if n < total else list(range(total))


class _About:
    """What held-out pictures are compared with; their features are computed once."""

    def __init__(
        self, test: Tensor, features: Features, distance: Callable[[Tensor, Tensor], Tensor] | None
    ) -> None:
        self.test, self.features, self.distance = test, features, distance
        self.seen = features(test)
        self.scale = self.seen.double().std(0).square().sum().sqrt().clamp_min(1e-6)

    def cells(self, made: Tensor) -> dict[str, Interval]:
        """All measures of pictures [N, C, H, W], each beside its own held-out one."""
        h, f = self.features(made), self.features.name
        cells = {
            "PSNR": mean_interval(psnr(made, self.test)),
            "SSIM": mean_interval(ssim(made, self.test)),
        }
        if self.distance is not None:
            pairs = zip(made.split(BATCH), self.test.split(BATCH), strict=True)
            cells["LPIPS"] = mean_interval(torch.cat([self.distance(a, b) for a, b in pairs]))
        gap = (h.double() - self.seen.double()).square().sum(1).sqrt() / self.scale
        cells[f"distance ({f})"] = mean_interval(gap)
        return cells | self.as_a_set(h)

    def as_a_set(self, h: Tensor) -> dict[str, Interval]:
        """Of features [M, D] of pictures that belong to no held-out one."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FewPictures)  # the report says it once
            return {f"Fréchet ({self.features.name})": Interval.exact(frechet(h, self.seen))}

    def measures(self) -> tuple[Measure, ...]:
        f = self.features.name
        every = (
            Measure("PSNR", "higher", "dB against the picture itself"),
            Measure("SSIM", "higher", "likeness in structure to the picture itself"),
            Measure("LPIPS", "lower", "perceptual distance to the picture itself (AlexNet)"),
            Measure(f"distance ({f})", "lower", "from the picture's features, 1 = as from the mean of all"),
            Measure(f"Fréchet ({f})", "lower", "distance of means and covariances to held-out pictures"),
        )
        return tuple(m for m in every if m.name != "LPIPS" or self.distance is not None)
