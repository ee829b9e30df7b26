"""CUT: one-sided unpaired translation, held to its input by contrasting patches.

Park, Efros, Zhang, Zhu. "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020,
arXiv:2007.15651. The generator's loss is
L_GAN(G, D, X, Y) + λ_X L_PatchNCE(G, H, X) + λ_Y L_PatchNCE(G, H, Y).
FastCUT is ``Cut.Config.fast()``: λ_X = 10, λ_Y = 0, and mirrored inputs.

    discriminator   D(x) on patches, its logit = −E, knows no condition     the solver, if asked for
    generator       x = G(c), no z                                          the initializer
    heads H         two layers on each chosen layer of G's first half, unit vectors out

Ours, beside the paper: a layer's P places are drawn one in each of P equal parts of its map, so that no
place is drawn twice; the paper's are a random subset, shared by the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from redraft import losses
from redraft.augment import draw
from redraft.core.errors import UsageError
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.contest import Contest, Loss, sample, take_turns
from redraft.methods.method import Sample, Update, keep_nothing
from redraft.nets.cut import Translator
from redraft.nets.parts import Energy


class Cut(nn.Module):
    """Discriminator and generator of two sides without pairs, and how a step teaches both.

    A batch pairs a given picture c with an unrelated wanted one x.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Contest):
        loss: Loss = "least_squares"
        nce: float = 1.0  # λ_X, weight of PatchNCE between G(c) and c; FastCUT 10
        identity: float = 1.0  # λ_Y, of PatchNCE between G(x) and x; FastCUT 0
        flip: bool = False  # FastCUT: half of the inputs are mirrored (by lot), their translations back
        patches: int = 256  # P, places a layer
        temperature: float = 0.07  # τ

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.nce < 0 or self.identity < 0 or self.patches < 2 or self.temperature <= 0:
                raise UsageError(
                    "method.nce and method.identity are weights, 0 or more; method.patches is at least 2; "
                    "method.temperature is greater than 0."
                )

        @staticmethod
        def fast() -> Cut.Config:
            """FastCUT, as published."""
            return Cut.Config(nce=10.0, identity=0.0, flip=True)

    stage = ""
    refine_steps = 0

    def __init__(self, cfg: Config, *, solver: Energy, initializer: Translator) -> None:
        super().__init__()
        self.cfg, self.discriminator, self.generator = cfg, solver, initializer
        self.keep = keep_nothing

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"solver": self.discriminator, "initializer": self.generator}

    def step(self, batch: Pair, update: Update, rng: Noise) -> dict[str, Tensor]:
        _, values = take_turns(self, batch, update, rng)
        return values

    def propose(self, batch: Pair, rng: Noise) -> tuple[Tensor, Tensor]:
        """G(c), and the generator's own loss: both PatchNCE terms."""
        cfg, (c, x) = self.cfg, batch
        assert c is not None
        given, generator = torch.cat([c, x]) if cfg.identity else c, self.generator
        places = [self._places(given, side, rng) for side in generator.sides]
        if cfg.flip:
            rows = rng.normal(len(given), 1) > 0
            keys: Sequence[Tensor] = generator.encode(given, places)
            mirrored = torch.where(rows[:, :, None, None], given.flip(3), given)
            out = generator(given[:, :0, 0, 0], mirrored)
            across = [
                torch.where(rows, _across(p, side), p)
                for p, side in zip(places, generator.sides, strict=True)
            ]
            queries = generator.encode(out, across)
        else:
            *keys, out = generator.encode(given, places, whole=True)  # one pass: the keys are its first half
            queries = generator.encode(out, places)
        return out[: len(c)], self._contrast(keys, queries, len(c))

    def _contrast(self, keys: Sequence[Tensor], queries: Sequence[Tensor], n: int) -> Tensor:
        """λ_X PatchNCE of the first n rows + λ_Y of the rest, means over layers."""
        cfg, total = self.cfg, keys[0].new_zeros(())
        for k, q in zip(keys, queries, strict=True):
            total = total + cfg.nce * losses.patch_nce(q[:n], k[:n], cfg.temperature)
            if cfg.identity:
                total = total + cfg.identity * losses.patch_nce(q[n:], k[n:], cfg.temperature)
        # with both terms the authors' code halves their sum
        return total / len(keys) / (2 if cfg.identity else 1)

    def _places(self, x: Tensor, side: int, rng: Noise) -> Tensor:
        """Places [N, P] of maps of side² : one at random in each of P equal parts."""
        parts = min(self.cfg.patches, side**2)
        within = torch.special.ndtr(rng.normal(len(x), parts))
        ends = torch.arange(parts + 1, device=within.device) * side**2 // parts
        place = ends[:-1] + (within * ends.diff()).long()
        return place.minimum(ends[1:] - 1).to(x.device)

    def draws(self, n: int, rng: Noise) -> tuple[Tensor, Tensor] | None:
        """What augments n real and n made pictures; None: nothing does."""
        return (draw(n, rng), draw(n, rng)) if self.cfg.diff_augment else None

    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        return sample(self, c, n, rng, refine, trace)

    @torch.no_grad()
    def energy(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.discriminator.given(None)(x)


def _across(places: Tensor, side: int) -> Tensor:
    """The places of the mirrored picture."""
    return places // side * side + (side - 1 - places % side)
