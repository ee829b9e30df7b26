"""Fusions towards a generator, which draws what they learn from and cannot say where given pictures lie."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
from fusing import SIZE, SMALL
from painting import Cli, Said
from safetensors.torch import load_file
from torch import Tensor, nn
from toys import IMAGE, TEXT, Cells, Letters, at_hand

import redraft
from redraft.app.bridges import bridge, ends
from redraft.app.drawn import DRAWS, codes, drawn, number
from redraft.core import images
from redraft.core.errors import UsageError
from redraft.core.rng import PictureNoise
from redraft.data import recognise
from redraft.hub import bundle
from redraft.nets.experts import Expert
from redraft.recipes import RECIPES
from redraft.recipes.run import Run
from redraft.spaces.bridge import REACH
from redraft.tasks import TASKS

GENERATOR = "generator:waves"
FEW = "--set=target.draws=60"
Z = 6


class Waves(Expert):
    """z -> the sum of as many waves, each of its own colour: linear, and pictures tell z. Two categories."""

    names = ("ball", "dot")

    def __init__(self) -> None:
        super().__init__(nn.Identity(), name=GENERATOR, kind="generator", meaning="strengths of waves")
        self.drew = 0  # pictures
        at = (torch.arange(SIZE) + 0.5) * math.pi / SIZE
        waves = [torch.outer((at * (i // 3)).cos(), (at * (i % 3)).cos()) for i in range(Z)]
        colours = torch.randn(Z, 3, generator=torch.Generator().manual_seed(0))
        self.waves = 0.12 * torch.stack(waves)[:, None] * colours[:, :, None, None]

    def shape(self, size: int) -> tuple[int, ...]:
        if size != SIZE:
            raise UsageError(f"{self.name} makes pictures of {SIZE} px, not {size}: --size {SIZE}.")
        return (Z, 1, 1)

    def picture(self, z: Tensor) -> Tensor:
        self.drew += len(z)
        return torch.einsum("nk,kchw->nchw", z.flatten(1), self.waves)

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, Z, 1, 1, generator=rng)

    def category(self, z: Tensor) -> Tensor:
        return (z[:, 0, 0, 0] > 0).long()


@pytest.fixture
def waves(monkeypatch: pytest.MonkeyPatch) -> Waves:
    generator = Waves()
    at_hand(monkeypatch, Letters(), Cells(), generator)
    return generator


@pytest.fixture(scope="module")
def sea(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real pictures: some that the generator could have drawn, by category."""
    generator, root = Waves(), tmp_path_factory.mktemp("sea")
    z = generator.draw(60, torch.Generator().manual_seed(9))
    for i, (x, k) in enumerate(zip(generator.decode(z), generator.category(z).tolist(), strict=True)):
        images.write(x, root / generator.names[k] / f"{i:02d}.png")
    return root


def fuse(cli: Cli, data: Path, out: Path, *more: object) -> Said:
    return cli("fuse", data, "--to", GENERATOR, *SMALL, FEW, f"--out={out}", *more)


def planned(data: Path, task: str, *settings: str) -> Run:
    made = TASKS[task].of(recognise(data), SIZE)
    found = ends(made, "fusion", [f"target.latent={GENERATOR}", *settings])
    return RECIPES["modern"](made, "fusion", 10, 0, found)


# --- what is drawn


def test_a_draw_is_the_picture_of_its_numbers_and_is_kept(sea: Path, waves: Waves) -> None:
    run = planned(sea, "upscale", "target.draws=40")
    between = bridge(run)
    data = drawn(run, between)
    assert len(data) == 40 and waves.drew == 40 and not run.reading.flip
    again = drawn(run, bridge(run))
    assert waves.drew == 40 and (again.target == data.target).all()
    z = codes(run, waves)
    x = torch.from_numpy(data.target.copy()).float() / 127.5 - 1
    assert (x - waves.decode(z)).abs().max() <= 1 / 255 + 1e-6
    assert data.category is not None and data.captions[3] == waves.names[data.category[3]]
    assert (data.category == waves.category(z).numpy()).all()
    other = codes(run, waves, "test")
    assert not torch.isclose(other[:, None], z[None]).flatten(2).all(2).any()


def test_how_many_are_drawn(sea: Path, waves: Waves) -> None:
    assert planned(sea, "edges").target.draws == DRAWS
    with pytest.raises(UsageError, match="2 or more"):
        planned(sea, "edges", "target.draws=1")
    with pytest.raises(UsageError, match=f"{IMAGE} is none"):
        ends(TASKS["edges"].of(recognise(sea), SIZE), "fusion", [f"target.latent={IMAGE}", "target.draws=9"])
    with pytest.raises(UsageError, match="leave them out"):
        ends(TASKS["edges"].of(recognise(sea), SIZE), "pix2pix", ["target.draws=9"])
    assert number(Cells(), TASKS["none"].of(recognise(sea), SIZE), 0) == 0


# --- from the command line


@pytest.mark.parametrize(
    ("task", "given"),
    [("edges", IMAGE), ("recover", None), ("upscale", None), ("colour", IMAGE), ("category", None)],
)
def test_tasks_whose_conditions_follow_from_pictures(
    cli: Cli, sea: Path, waves: Waves, tmp_path: Path, task: str, given: str | None
) -> None:
    reads = [] if given is None else [f"--from={given}"]
    said = fuse(cli, sea, tmp_path / "run", f"--task={task}", "--steps=2", *reads)
    assert said.status == 0, said.err
    assert f"{GENERATOR} draws 60 pictures" in said.out or waves.drew < 60  # by an earlier run of the seed
    assert "60 pictures to train on" in said.out and "gives held-out pictures back" not in said.out
    about = bundle.load(tmp_path / "run" / "model").config["about"]
    assert about["pictures"] == 60 and "reconstruction_psnr" not in about
    condition = "ball" if task == "category" else next((sea / "ball").iterdir())
    made = redraft.Model.from_pretrained(tmp_path / "run", "cpu")(condition, variants=2)
    assert made.images.shape == (2, 3, SIZE, SIZE) and not torch.equal(made.images[0], made.images[1])


def test_what_pictures_are_drawn_of_has_no_components(
    cli: Cli, sea: Path, waves: Waves, tmp_path: Path
) -> None:
    said = fuse(cli, sea, tmp_path / "run", "--task=upscale", "--set=target.components=4", "--steps=2")
    assert said.status == 2 and "is for an autoencoder" in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_words_become_what_a_generator_of_categories_makes(
    cli: Cli, sea: Path, waves: Waves, tmp_path: Path
) -> None:
    said = fuse(cli, sea, tmp_path / "run", f"--from={TEXT}", "--steps=2")
    assert said.status == 0 and f"{TEXT} looks at 2 different captions" in said.out, said.err
    said = cli("generate", tmp_path / "run", "a ball", "--variants=2", f"--out={tmp_path / 'out'}")
    assert said.status == 0 and "of its generator's draws, says the model" in said.out, said.err
    assert cli("explain", tmp_path / "out" / "a-ball-1.png").status == 0


def test_z_of_pictures_that_were_never_seen_is_found(
    cli: Cli, sea: Path, waves: Waves, tmp_path: Path
) -> None:
    """The small picture tells z; how was learnt from draws alone."""
    more = ["--task=upscale", "--set=target.draws=500", "--set=train.batch=64", "--steps=25"]
    said = fuse(cli, sea, tmp_path / "run", *more, "--set=networks.flow.width=32")
    assert said.status == 0, said.err
    model = redraft.Model.from_pretrained(tmp_path / "run", "cpu")
    between, files = model.bridge, sorted(sea.rglob("*.png"), key=lambda file: file.name)
    c = model.read(files, 0)
    found = model.method.generate(between.given(c), len(files), PictureNoise(0, range(len(files)))).images
    z = waves.draw(len(files), torch.Generator().manual_seed(9))
    error = (found * REACH * between.std + between.mean - z).square().mean()
    assert error < 0.1  # by chance 2: of one z and another


def test_a_run_that_goes_on_is_the_unbroken_one(cli: Cli, sea: Path, waves: Waves, tmp_path: Path) -> None:
    line = ["--task=recover", "--set=train.checkpoint_every=2"]
    for steps in (2, 4):
        said = fuse(cli, sea, tmp_path / "a", *line, f"--steps={steps}", *["--resume"] * (steps > 2))
        assert said.status == 0, said.err
    assert fuse(cli, sea, tmp_path / "b", *line, "--steps=4").status == 0
    a, b = (load_file(tmp_path / name / "model" / "model.safetensors") for name in "ab")
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--task=none"], "Task none is not for generator:waves"),
        (["--task=pairs"], "without partners"),
        (["--task=edges", "--size=32"], "--size 16"),
        (["--task=edges", "--set=reading.flip=true"], "leave it at false"),
        (["--task=edges", "--set=reading.margin=2"], "experts see each once"),
        (["--task=edges", "--from=" + GENERATOR], "of kind generator"),
    ],
)
def test_wrong_words_towards_a_generator(
    cli: Cli, sea: Path, waves: Waves, tmp_path: Path, words: list[str], says: str
) -> None:
    said = fuse(cli, sea, tmp_path / "run", "--steps=1", *words)
    assert said.status in (1, 2) and says in said.err and said.err.count("\n") == 1, said.err
    assert not (tmp_path / "run").exists()


def test_tasks_that_need_more_than_a_picture(cli: Cli, sea: Path, waves: Waves, tmp_path: Path) -> None:
    for side in ("trainA", "trainB"):
        shutil.copytree(sea / "ball", tmp_path / "pairs" / side)
    for task in ("pairs", "edges"):
        said = fuse(cli, tmp_path / "pairs", tmp_path / "run", f"--task={task}", "--steps=1")
        assert said.status == 2 and "use task edges (of pictures alone)" in said.err, said.err
    shutil.copytree(sea / "ball", tmp_path / "named" / "boat")
    shutil.copytree(sea / "dot", tmp_path / "named" / "dot")
    said = fuse(cli, tmp_path / "named", tmp_path / "run", "--task=category", "--steps=1")
    assert said.status == 2 and "of the same names" in said.err


def test_a_generator_cannot_take_a_picture_for_an_exemplar(
    cli: Cli, sea: Path, waves: Waves, tmp_path: Path
) -> None:
    assert fuse(cli, sea, tmp_path / "run", "--task=category", "--steps=1").status == 0
    file = next((sea / "ball").iterdir())
    said = cli("generate", tmp_path / "run", "dot", f"--like={file}", f"--out={tmp_path / 'out'}")
    assert said.status == 2 and "cannot represent pictures" in said.err and said.err.count("\n") == 1


# --- a generator of one's own, and other methods


def test_an_own_generator_goes_along(cli: Cli, sea: Path, tmp_path: Path) -> None:
    tiny = ["--set=networks.solver_width=4", "--set=networks.initializer_width=4", "--set=train.batch=4"]
    line = ["train", sea, "--task=none", "--method=gan", *SMALL[:2], *tiny, "--steps=2"]
    said = cli(*line, f"--out={tmp_path / 'gan'}")
    assert said.status == 0, said.err
    line = ["fuse", sea, f"--to=generator:{tmp_path / 'gan'}", "--task=edges", *SMALL, FEW]
    said = cli(*line, "--steps=2", f"--out={tmp_path / 'run'}")
    assert said.status == 0, said.err
    shutil.rmtree(tmp_path / "gan")
    said = cli("evaluate", tmp_path / "run", sea, f"--out={tmp_path / 'report'}")
    assert said.status == 0, said.err
    ahead = said.out.split("Making and measuring")[1].splitlines()
    assert ahead[1].startswith(f"What generator:{tmp_path / 'gan'} draws is KID") and "no better" in ahead[1]
    assert ahead[2].startswith("Held-out residuals (60 of 64 numbers)")  # of draws of their own


def test_other_methods_learn_from_draws_as_well(cli: Cli, sea: Path, waves: Waves, tmp_path: Path) -> None:
    tiny = ["--set=networks.solver_width=4", "--set=networks.initializer_width=4", "--set=train.batch=4"]
    line = ["train", sea, "--task=category", "--method=ccoopnets", *SMALL[:2], *tiny, FEW]
    said = cli(*line, f"--set=target.latent={GENERATOR}", "--steps=2", f"--out={tmp_path / 'run'}")
    assert said.status == 0, said.err
    said = cli("generate", tmp_path / "run", "ball", "--refine=2", f"--out={tmp_path / 'out'}")
    assert said.status == 0 and "its generator's draws, says the solver" in said.out, said.err


def test_a_solver_refines_a_fusion_towards_a_generator(
    cli: Cli, sea: Path, waves: Waves, tmp_path: Path
) -> None:
    assert fuse(cli, sea, tmp_path / "fusion", "--task=category", "--steps=2").status == 0
    line = ["train", sea, "--method=solver", f"--initializer={tmp_path / 'fusion'}", "--steps=2"]
    tiny = ["--set=networks.solver_width=4", "--set=train.batch=4", "--set=method.langevin.steps=2"]
    said = cli(*line, *tiny, f"--out={tmp_path / 'run'}")
    assert said.status == 0 and "60 pictures to train on" in said.out, said.err
