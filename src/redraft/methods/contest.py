"""What the adversarial methods share: their settings, and the two players' turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from redraft import losses
from redraft.augment import diff_augment, follow
from redraft.core.errors import UsageError
from redraft.core.rng import Noise
from redraft.core.types import Pair
from redraft.methods.method import Adversarial, Sample, Update
from redraft.methods.thinking import draft_and_refine, mispaired, still
from redraft.nets.parts import Code, Energy, joined
from redraft.sampling.langevin import Langevin

Loss = Literal["nonsaturating", "hinge", "wasserstein", "least_squares"]
LOSSES = {
    "nonsaturating": losses.NONSATURATING,
    "hinge": losses.HINGE,
    "wasserstein": losses.WASSERSTEIN,
    "least_squares": losses.LEAST_SQUARES,
}


@dataclass(frozen=True, kw_only=True)
class Contest:
    """How generator and discriminator are set against each other."""

    loss: Loss = "nonsaturating"
    r1: float = 0.0  # γ of losses.r1, of what D sees, augmented or not; Mescheder et al. and StyleGAN2 10
    gradient_penalty: float = 0.0  # λ of losses.gradient_penalty; WGAN-GP 10
    drift: float = 0.0  # weight of mean logit² of real pictures; ProGAN 0.001 beside Wasserstein
    penalised: float = 1.0  # share of the batch that the three above look at, to save time
    wrong_conditions: float = 0.0  # weight of real pictures under wrong c as made ones; see ``judge``
    diff_augment: bool = False  # DiffAugment on all that the discriminator sees, for few pictures
    langevin: Langevin = Langevin(steps=10, relative=0.01)  # refinement by the discriminator, on demand

    def __post_init__(self) -> None:
        for name in ("r1", "gradient_penalty", "drift", "wrong_conditions"):
            if getattr(self, name) < 0:
                raise UsageError(f"method.{name} is a weight, 0 or more, not {getattr(self, name)}.")
        if not 0 < self.penalised <= 1:
            raise UsageError(f"method.penalised is a share above 0 and at most 1, not {self.penalised}.")


class Verdict(NamedTuple):
    loss: Tensor  # the discriminator's
    real: Tensor  # its logits of real pictures [N, ...]
    made: Tensor  # of made ones

    def values(self, loss_generator: Tensor) -> dict[str, Tensor]:
        """What a step tells the journal. ``told_apart``: share of pairs whose real picture has the higher
        logit: ½ = the discriminator is at a loss, 1 = it has won."""
        real, made = self.real.detach().flatten(1).mean(1), self.made.detach().flatten(1).mean(1)
        return {
            "loss_solver": self.loss,
            "loss_initializer": loss_generator,
            "energy_data": -real.mean(),
            "energy_draft": -made.mean(),
            "told_apart": (real[:, None] > made[None]).float().mean(),
        }


def take_turns(
    method: Adversarial, batch: Pair, update: Update, rng: Noise
) -> tuple[Verdict, dict[str, Tensor]]:
    """A step of the contest: the discriminator's turn, the generator's, and what the journal is told."""
    c, x = batch
    made, own = method.propose(batch, rng)
    u = method.draws(len(x), rng)
    verdict = judge(method.discriminator, x, made, c, method.cfg, rng, u)
    update(method.discriminator, verdict.loss)  # tell real from made

    loss = persuade(method.discriminator, made, c, method.cfg, None if u is None else u[1]) + own
    update(method.generator, loss)  # be taken for real
    return verdict, verdict.values(loss) | ({"own": own} if own.requires_grad else {})


def sample(
    method: Adversarial, c: Tensor | None, n: int, rng: Noise, refine: int | None, trace: bool
) -> Sample:
    """n drafts, refined by the discriminator for ``refine`` steps (None: as the method does by itself)."""
    k, nets = method.refine_steps if refine is None else refine, (method.generator, method.discriminator)
    return draft_and_refine(*nets, c, n, method.cfg.langevin, rng, keep=method.keep, refine=k, trace=trace)


def judge(
    discriminator: Energy,
    x: Tensor,
    made: Tensor,
    c: Tensor | None,
    cfg: Contest,
    rng: Noise,
    u: tuple[Tensor, Tensor] | None = None,
) -> Verdict:
    """The discriminator's turn: tell real pictures x from ``made`` ones, both [N, C, H, W], given c.

    ``u``: draws of the augmentations of x and of ``made``. With ``wrong_conditions`` real pictures under
    the batch's conditions rolled by one count as made, with that weight: the matching-aware discriminator
    (Reed et al. 2016, arXiv:1605.05396). Each of the two is a contest against the real pictures, which so
    count 1 + that weight. A few wrong ones are right by chance, where two are of a category.
    """
    made = made.detach()
    if u is None:
        code = code_made = discriminator.encode(c)
    else:
        x, code = diff_augment(x, u[0]), discriminator.encode(follow(c, u[0]))
        made, code_made = diff_augment(made, u[1]), discriminator.encode(follow(c, u[1]))
    pictures, codes = [x, made], [code, code_made]
    if cfg.wrong_conditions and code and len(x) > 1:
        wrong_code = mispaired(discriminator, c, code, None if u is None else u[0])
        pictures, codes = [*pictures, x], [*codes, wrong_code]
    real, fake, *wrong = discriminator.logits(torch.cat(pictures), joined(*codes)).chunk(len(pictures))
    loss = LOSSES[cfg.loss].discriminator(real, fake)
    for logits in wrong:
        loss = loss + cfg.wrong_conditions * LOSSES[cfg.loss].discriminator(real, logits)
    return Verdict(loss + penalties(discriminator, x, made, code, cfg, rng), real, fake)


def penalties(discriminator: Energy, x: Tensor, made: Tensor, code: Code, cfg: Contest, rng: Noise) -> Tensor:
    """The discriminator's own terms beside the contest; all 0 where the settings are."""
    n = max(1, round(cfg.penalised * len(x)))
    code = tuple(k[:n] for k in code)

    def logit(x: Tensor) -> Tensor:
        return -discriminator(x, code)

    total = x.new_zeros(())
    if cfg.r1:
        total = total + cfg.r1 * losses.r1(logit, x[:n])
    if cfg.gradient_penalty:
        share = torch.special.ndtr(rng.normal(len(x), *[1] * (x.ndim - 1)))[:n]
        total = total + cfg.gradient_penalty * losses.gradient_penalty(logit, made[:n].lerp(x[:n], share))
    if cfg.drift:
        total = total + cfg.drift * logit(x[:n]).square().mean()
    return total


def persuade(
    discriminator: Energy, made: Tensor, c: Tensor | None, cfg: Contest, u: Tensor | None = None
) -> Tensor:
    """The generator's turn: the loss of ``made`` [N, C, H, W] being taken for real, given c."""
    with still(discriminator):
        if u is not None:
            made, c = diff_augment(made, u), follow(c, u)
        return LOSSES[cfg.loss].generator(discriminator.logits(made, discriminator.encode(c)))
