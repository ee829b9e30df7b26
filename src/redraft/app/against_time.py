"""Quality against time where one model drafts and another revises: drafts, few steps, all from noise."""

from __future__ import annotations

from torch import Tensor

from redraft.app.drafting import Drafted
from redraft.app.examples import spread_out
from redraft.app.model import Model
from redraft.core.rng import PictureNoise
from redraft.core.types import Pair
from redraft.evaluation.curve import Revision, revisions
from redraft.evaluation.evaluate import Asked
from redraft.evaluation.table import Point
from redraft.methods.denoising import Denoising

PICTURES = 200  # held-out pairs that it is measured on
FEW = (2, 4, 8)  # steps from drafts, and from noise
MUCH = 0.75  # a level at which little is left of a draft
REVISED = 10**9  # where the numbers of the revision's noise begin: drafts have their own


def against_time(
    model: Model, held_out: Pair, asked: Asked, seed: int, truth: bool
) -> dict[str, tuple[Point, ...]]:
    """Points by what the steps begin at; {} for a model that begins at no other's drafts."""
    drafted = model.viewed
    if not isinstance(drafted, Drafted):
        return {}
    few = spread_out(held_out, min(PICTURES, len(held_out.target)))
    some = Pair(None if held_out.condition is None else held_out.condition[few], held_out.target[few])

    def given(rows: slice) -> Tensor | None:
        return None if some.condition is None else some.condition[rows].to(model.device)

    def draft(rows: slice) -> Tensor:
        return drafted.draft(given(rows), rows.stop - rows.start, _noise(model, rows, seed)).cpu()

    def revise(drafts: Tensor, rows: slice, level: float, steps: int) -> Tensor:
        noise = _noise(model, slice(REVISED + rows.start, REVISED + rows.stop), seed)
        return drafted.revise(drafts.to(model.device), given(rows), noise, level, steps).clamp(-1, 1).cpu()

    return revisions(draft, revise, some, asked, tried(model, drafted.level), truth=truth)


def tried(model: Model, level: float) -> list[Revision]:
    """Half the level, the level, and one at which little is left of a draft; then noise."""
    cfg = model.run.method
    assert isinstance(cfg, Denoising)
    own = sorted({*FEW, cfg.steps})
    levels = sorted({level / 2, level, MUCH} - {1.0})
    return [*(Revision(f"from {part:g}", part, FEW) for part in levels), Revision("from noise", 1.0, own)]


def from_noise(model: Model, c: Tensor | None, n: int, seed: int) -> Tensor:
    """n pictures [n, C, S, S] of a model that begins at drafts, without them and in all its steps."""
    assert isinstance(model.viewed, Drafted)
    given = None if c is None else c.to(model.device)
    noise = PictureNoise(seed, range(n), model.device)
    return model.viewed.own.generate(given, n, noise).images.clamp(-1, 1).cpu()


def _noise(model: Model, rows: slice, seed: int) -> PictureNoise:
    return PictureNoise(seed, range(rows.start, rows.stop), model.device)
