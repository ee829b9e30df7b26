"""The common promises of training, for every method and kind of condition, with its own networks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import redraft
from redraft.core.rng import stream
from redraft.core.types import Pair
from redraft.methods import METHODS
from redraft.methods.piti import LAST, STAGES, Piti
from redraft.recipes import RECIPES, Run, build
from redraft.tasks.category import CategoryToPicture
from redraft.tasks.none import Nothing
from redraft.tasks.pairs import PictureToPicture
from redraft.tasks.unpaired import Unpaired
from redraft.training import train
from redraft.training.parts import learn
from redraft.training.processes import rank, world
from redraft.training.update import Update

SMALL = [
    "networks.solver_width=4",
    "networks.initializer_width=8",
    "train.batch=4",
    "train.steps=6",
    "train.checkpoint_every=2",
]
CHAIN = ["method.langevin.steps=2", "method.langevin.noise=0.01"]
NOTHING = Nothing(size=16, channels=1)
CATEGORY = CategoryToPicture(size=16, channels=1, names=("a", "b", "c"))
PICTURE = PictureToPicture(size=16, channels=1, condition_channels=1)
UNPAIRED = Unpaired(size=16, channels=1, condition_channels=1)
SUBJECTS = {
    "coopnets": ("coopnets", NOTHING),
    "ccoopnets, category": ("ccoopnets", CATEGORY),
    "ccoopnets, picture": ("ccoopnets", PICTURE),
    "gan": ("gan", NOTHING),
    "gan, residual": ("gan", CATEGORY),
    "gan, style": ("gan", NOTHING),
    "gan, ada": ("gan", NOTHING),
    "gan, wasserstein": ("gan", NOTHING),
    "gan, category": ("gan", CATEGORY),
    "pix2pix": ("pix2pix", PICTURE),
    "cut": ("cut", UNPAIRED),
    "coopinit, category": ("coopinit", CATEGORY),
    "coopinit, picture": ("coopinit", PICTURE),
    "coopinit, unpaired": ("coopinit", UNPAIRED),
    "autoencoder": ("autoencoder", NOTHING),
    "autoencoder, adversarial": ("autoencoder", NOTHING),
    "fusion": ("fusion", NOTHING),
    "fusion, category": ("fusion", CATEGORY),
    "fusion, picture": ("fusion", PICTURE),
    "fusion, unpaired": ("fusion", UNPAIRED),
    "diffusion": ("diffusion", NOTHING),
    "diffusion, category": ("diffusion", CATEGORY),
    "piti": ("piti", PICTURE),
    "piti, learned": ("piti", PICTURE),
    "piti, upsampler": ("piti", PICTURE),
    "solver": ("solver", NOTHING),
    "solver, picture": ("solver", PICTURE),
}


DENOISER = [
    "networks.denoiser.channels=[16,16]",
    "networks.denoiser.blocks=1",
    "networks.denoiser.tokens=8",
    "method.steps=2",
    "method.draft_steps=1",
]
ENCODER = ["networks.encoder.width=8", "networks.encoder.heads=2", "networks.encoder.layers=1"]
FLOW = ["networks.flow.blocks=2", "networks.flow.width=8", "networks.flow.embed=4"]
SETTINGS = {
    "gan, residual": ["networks.solver=residual", "networks.initializer=residual", "method.loss=hinge"],
    "gan, style": ["networks.solver=style", "networks.initializer=style"],
    "gan, ada": ["method.ada=0.6", "train.lr.augmentation=0.3", "train.betas.augmentation=[0.0,0.9]"],
    "gan, wasserstein": ["method.loss=wasserstein", "method.r1=0", "method.gradient_penalty=10"],
    "coopinit, category": ["coopinit.optimizers=keep"],
    "autoencoder": ["networks.autoencoder.width=4"],
    "autoencoder, adversarial": [
        "networks.autoencoder.latent=spatial",
        "networks.autoencoder.width=4",
        "method.adversarial=0.5",
        "method.start=0.4",
    ],
    **{f"diffusion{kind}": DENOISER for kind in ("", ", category")},
    "piti": [*DENOISER, *ENCODER],
    "piti, learned": [*DENOISER, *ENCODER, "networks.encoder.null=learned", "method.carry=weights"],
    "piti, upsampler": [
        *DENOISER,
        *ENCODER,
        *("networks.upsampler.channels=[16]", "networks.upsampler.tokens=8", "method.upsampler.factor=2"),
        *("method.upsampler.steps=2", "method.upsampler.share=0.5", "method.upsampler.after=0"),
        "method.upsampler.below=0.8",
    ],
    **{f"fusion{kind}": FLOW for kind in ("", ", category", ", picture", ", unpaired")},
}


def the_run(name: str, recipe: str = "modern", *more: str) -> Run:
    method, task = SUBJECTS[name]
    run = RECIPES[recipe](task, method, 100, 0)
    chain = CHAIN if hasattr(run.method, "langevin") and run.solver_steps else []
    half = ["coopinit.share=0.5"] if method == "coopinit" else []  # both stages in six steps
    return run.override([*SMALL, *chain, *half, *SETTINGS.get(name, []), *more])


def batch_at(name: str, t: int, n: int = 4) -> Pair:
    g = stream(0, name, t)
    x = torch.rand(n, 1, 16, 16, generator=g) * 2 - 1
    kind = SUBJECTS[name][1].spec.condition
    c = {"none": None, "category": torch.arange(n) % 3, "picture": x.flip(3)}[kind]
    return Pair(c, x)


def trained(name: str, out: Path, run: Run, **options: object) -> torch.Tensor:
    method = untrained(name, run)
    given = {"batch_at": lambda t: batch_at(name, t), **options}
    train(method, cfg=run.train, out=out, config=run.to_dict(), **given)
    return torch.cat([p.detach().flatten() for p in method.state_dict().values()])


def untrained(name: str, run: Run) -> torch.nn.Module:
    method = build(run)
    some = batch_at(name, 99, 40)
    if getattr(method, "style", None) is not None:
        method.style.fit(some.target, some.condition)
    if hasattr(method, "begin"):
        method.begin(some)
    return method


class Killed(BaseException):
    """The machine goes off."""


def test_every_method_is_a_subject() -> None:
    assert {method for method, _ in SUBJECTS.values()} == set(METHODS)


BY_RECIPE = [
    (recipe, name)
    for recipe in ("modern", "classic")
    for name, (method, _) in SUBJECTS.items()
    if (recipe, method)
    != ("classic", "fusion")  # the paper's flow makes vectors: tests/recipes/test_fusion_runs
]


@pytest.mark.parametrize(("recipe", "name"), BY_RECIPE)
def test_a_killed_run_ends_as_one_that_was_not(name: str, recipe: str, tmp_path: Path) -> None:
    run = the_run(name, recipe)

    def dies(t: int) -> Pair:
        if t == 4:
            raise Killed
        return batch_at(name, t)

    whole = trained(name, tmp_path / "a", run)
    with pytest.raises(Killed):
        trained(name, tmp_path / "b", run, batch_at=dies)
    assert torch.equal(trained(name, tmp_path / "b", run, resume=True), whole)


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_batch_with_nan_is_left_out_and_said(name: str, tmp_path: Path) -> None:
    def poisoned(t: int) -> Pair:
        c, x = batch_at(name, t)
        return Pair(c, x * float("nan")) if t == 3 else Pair(c, x)

    weights = trained(name, tmp_path / "run", the_run(name), batch_at=poisoned)
    assert weights.isfinite().all()
    assert "batch of step 4" in (tmp_path / "run" / "events.log").read_text()


def gradients(name: str, run: Run, done: float) -> dict[str, torch.Tensor]:
    """What each network's Adam is given in one step, ``done`` into the training, at next to no rate."""
    method = untrained(name, run)
    if "augmentation" in method.networks:
        torch.nn.init.constant_(method.chance.p, 0.5)  # not at an end
    update, got = Update(method.networks, run.train), {}
    update.set_rates(1e-6, {})
    update.done = done
    if isinstance(method, Piti):  # none of its stages is passed over
        method.stage = (*STAGES, LAST)[stages(run).index(done)]
        for p in method.parameters():  # what begins at zero gives no slope to what lies before it
            if p.ndim > 1 and not p.any():
                torch.nn.init.constant_(p, 0.01)
    for key, adam in update.optimizers.items():

        def keep(adam: torch.optim.Optimizer, *_: object, key: str = key) -> None:
            grads = [p.grad for p in adam.param_groups[0]["params"] if p.grad is not None]
            got[key] = torch.cat([g.flatten() for g in grads])

        adam.register_step_pre_hook(keep)
    mine = (None if v is None else v[rank() :: world()] for v in batch_at(name, 0, 8))
    learn(method, Pair(*mine), update, seed=0, t=0)
    assert set(got) == learning(method)
    return got


def learning(method: torch.nn.Module) -> set[str]:
    """The networks that learn in the stage that a method is in."""
    last = set() if getattr(method, "upsampler", None) is None else set(method.upsampler.networks)
    return last if getattr(method, "stage", "") == LAST else set(method.networks) - last


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_batch_in_two_parts_teaches_as_the_whole(name: str) -> None:
    """Where neighbours within a part are the wrong conditions not: so without those.

    Gradients and not weights, since Adam makes a full step of a gradient that is rounding alone. With next to
    no rate, since in parts a generator is judged by a discriminator that moves with the last of them. Power
    iteration goes on twice as far in two parts, from vectors that are near their end already.
    """
    run, parts = even(name), even(name, "train.accumulate=2")
    for done in stages(run):
        agree(name, gradients(name, parts, done), gradients(name, run, done))


def even(name: str, *more: str) -> Run:
    """A run without wrong conditions, which are a matter of neighbours."""
    has_wrong = hasattr(the_run(name).method, "wrong_conditions")
    return the_run(name, "modern", *(["method.wrong_conditions=0"] if has_wrong else []), *more)


def stages(run: Run) -> tuple[float, ...]:
    """Shares of the training in which all its stages are met."""
    if getattr(run.method, "adversarial", 0):
        return (0.9,)  # earlier there is no contest
    if isinstance(run.method, Piti.Config):
        return (0.0, 0.35, 0.9) if run.method.upsampler.factor == 1 else (0.0, 0.18, 0.3, 0.9)
    return (0.0, 0.9) if run.coopinit.share else (0.0,)


def agree(name: str, some: dict[str, torch.Tensor], whole: dict[str, torch.Tensor]) -> None:
    for key, gradient in some.items():
        share = float((gradient - whole[key]).norm() / whole[key].norm())
        assert share < (0.01 if name == "gan, residual" else 1e-5), key


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes computed of every subject."""
    out = tmp_path_factory.mktemp("two")
    here, source = Path(__file__).parent, Path(redraft.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        + [str(here / "child_every.py"), str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(here), str(source)])},
        check=True,
        timeout=200,
    )
    return out


@pytest.mark.parametrize("name", SUBJECTS)
def test_two_processes_teach_as_one(name: str, two: Path) -> None:
    run = even(name)
    for done in stages(run):
        for each in (0, 1):
            agree(name, torch.load(two / f"{name}.{done}.{each}.pt"), gradients(name, run, done))


@pytest.mark.parametrize("optimizers", ["reset", "keep"])
@pytest.mark.parametrize("every", [1, 2])
def test_coopinit_killed_around_its_hand_over(optimizers: str, every: int, tmp_path: Path) -> None:
    """The hand-over is the fourth of six steps; steps before, at and after it die."""
    name = "coopinit, category"
    run = the_run(name, "modern", f"coopinit.optimizers={optimizers}", f"train.checkpoint_every={every}")
    whole = trained(name, tmp_path / "whole", run)
    for last in (2, 3, 4, 5):

        def dies(t: int, last: int = last) -> Pair:
            if t == last:
                raise Killed
            return batch_at(name, t)

        out = tmp_path / str(last)
        with pytest.raises(Killed):
            trained(name, out, run, batch_at=dies)
        assert torch.equal(trained(name, out, run, resume=True), whole)
        assert "The cooperative stage ends at step 3; the adversarial" in (out / "events.log").read_text()
