"""``--drafts RUN``: a diffusion model begins at another model's pictures."""

from __future__ import annotations

import html
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from painting import Cli, paint
from PIL import Image, ImageOps
from tests.nets.tiny_priors import alone, diffusers
from toys import Cells

import redraft
from redraft.app.drafting import refuse_drafter
from redraft.app.train import train
from redraft.core import images
from redraft.core.errors import UsageError
from redraft.core.rng import PictureNoise
from redraft.evaluation.table import Scores

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
FAST = [
    *("networks.solver_width=8", "networks.initializer_width=8", "train.batch=4", "method.langevin.steps=1"),
]
SLOW = [
    *("networks.encoder.width=8", "networks.encoder.layers=1", "networks.encoder.heads=2"),
    *("train.batch=4", "method.steps=3", "method.draft_steps=2"),
]
WITH = ["networks.denoiser.channels=[16]", "networks.denoiser.tokens=8", *SLOW[3:]]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of 16 px and their negatives."""
    root = tmp_path_factory.mktemp("pairs")
    for i in range(24):
        paint(root / "trainB" / f"{i:02d}.png", i, 16)
        (root / "trainA").mkdir(exist_ok=True)
        ImageOps.invert(Image.open(root / "trainB" / f"{i:02d}.png")).save(root / "trainA" / f"{i:02d}.png")
    return root


@pytest.fixture(scope="module")
def runs(pairs: Path, discs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of one step: what revises, what drafts for it, and what does not fit."""
    diffusers()
    out = tmp_path_factory.mktemp("drafting")
    torch.manual_seed(1)
    prior = str(alone(out / "prior"))
    one = {"steps": 1, "device": "cpu"}

    def learnt(name: str, data: Path, settings: list[str], **more: object) -> Path:
        return train(str(data), out=str(out / name), settings=settings, **one, **more)  # type: ignore[arg-type]

    return {
        "piti": learnt("piti", pairs, SLOW, method="piti", prior=prior, task="pairs"),
        "fast": learnt("fast", pairs, FAST, method="ccoopnets", task="pairs", size=16),
        "large": learnt("large", pairs, FAST, method="ccoopnets", task="pairs", size=32),
        "recover": learnt("recover", discs, FAST, task="recover", size=16),
        "diffusion": learnt("diffusion", discs, WITH, method="diffusion", task="none", size=16),
        "coopnets": learnt("coopnets", discs, FAST, method="coopnets", task="none", size=16),
    }


@pytest.fixture
def given(pairs: Path) -> str:
    return str(pairs / "trainA" / "03.png")


def revising(
    runs: dict[str, Path], level: float = 0.5, mine: str = "piti", its: str = "fast"
) -> redraft.Model:
    model = redraft.Model.from_pretrained(runs[mine], "cpu")
    model.draft_by(runs[its], level)
    return model


def test_drafts_are_the_other_models_pictures_and_what_is_made_begins_there(
    runs: dict[str, Path], given: str
) -> None:
    model, other = revising(runs), redraft.Model.from_pretrained(runs["fast"], "cpu")
    made, theirs = model(given, variants=2, seed=3), other(given, variants=2, seed=3)
    assert torch.equal(made.drafts, theirs.images) and not torch.equal(made.images, made.drafts)
    assert torch.equal(model(given, variants=2, seed=3, refine=0).images, theirs.images)
    c = model.read(given, 3).expand(2, -1, -1, -1)
    torch.testing.assert_close(made.draft_energies, model.viewed.energy(theirs.images, c))
    torch.testing.assert_close(made.energies, model.viewed.energy(made.images, c))
    assert [told["steps"] for told in made.stories] == ["2", "2"]  # as an own draft would take


def test_the_lower_the_level_the_more_is_kept_and_at_one_nothing(runs: dict[str, Path], given: str) -> None:
    moved = []
    for level in (0.02, 0.4, 0.9):
        made = revising(runs, level)(given, refine=3)
        moved.append(float((made.images - made.drafts).square().mean()))
    assert moved == sorted(moved)
    whole = revising(runs, 1.0)
    c, x = whole.read(given, 0), torch.zeros(1, 3, 16, 16)
    ends = [whole.viewed.revise(d, c, PictureNoise(0, [0]), 1.0, 3) for d in (x, x + 1)]  # type: ignore[union-attr]
    alone = redraft.Model.from_pretrained(runs["piti"], "cpu").viewed.generate(
        c, 1, PictureNoise(0, [0]), refine=3
    )
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], alone.images)


def test_without_conditions_diffusion_revises_what_coopnets_drafts(runs: dict[str, Path]) -> None:
    made = revising(runs, 0.3, "diffusion", "coopnets")(variants=3)
    theirs = redraft.Model.from_pretrained(runs["coopnets"], "cpu")(variants=3)
    assert torch.equal(made.drafts, theirs.images) and made.images.shape == (3, 3, 16, 16)


def test_drafts_go_into_the_latent_space_and_come_back(
    runs: dict[str, Path], discs: Path, toys: Cells, tmp_path: Path
) -> None:
    latent = ["networks.denoiser.channels=[16]", "networks.denoiser.patch=1", *SLOW[3:]]
    out = {"size": 16, "steps": 1, "out": str(tmp_path / "latent"), "device": "cpu"}
    run = train(
        str(discs), method="diffusion", task="none", settings=[*latent, "target.latent=image:toy"], **out
    )
    model = revising({**runs, "latent": run}, 0.01, "latent", "coopnets")
    made = model(variants=2, refine=1)
    theirs = redraft.Model.from_pretrained(runs["coopnets"], "cpu")(variants=2)
    assert torch.equal(made.drafts, theirs.images)
    assert made.images.shape == made.drafts.shape and 0 < (made.images - made.drafts).abs().mean() < 0.1
    looked = toys.seen
    model.viewed.revise(made.drafts, None, PictureNoise(0, [0, 1]), 1.0, 1)  # type: ignore[union-attr]
    assert toys.seen == looked  # nothing of drafts is left there, so nothing is paid for them


def test_a_png_tells_of_its_draft_and_is_replayed(
    cli: Cli, runs: dict[str, Path], given: str, tmp_path: Path
) -> None:
    fast = shutil.copytree(runs["fast"], tmp_path / "fast")
    line = ["generate", runs["piti"], given, "--drafts", fast, "--level=0.37", "--refine=3", "--variants=2"]
    said = cli(*line, "--seed=5", "--device=cpu", f"--out={tmp_path / 'out'}")
    assert said.status == 0, said.err
    file = tmp_path / "out" / "03-1.png"
    told = {k.removeprefix("redraft:"): v for k, v in images.read_info(file).items()}
    hash_ = redraft.Model.from_pretrained(fast, "cpu").hash
    assert (told["drafts_hash"], told["drafts_method"], told["level"]) == (hash_, "ccoopnets", "0.37")
    assert told["method"] == "piti" and told["steps"] == "3"
    replay = cli("explain", file)
    assert replay.status == 0 and "same pixels" in replay.out
    shutil.rmtree(fast)
    gone = cli("explain", file)
    assert (
        gone.status == 2 and f"{fast / 'model'} is not there any more" in gone.err and "--drafts" in gone.err
    )
    assert cli("explain", file, "--drafts", runs["fast"]).status == 0
    other = cli("explain", file, "--drafts", runs["large"])
    assert other.status == 2 and "another model" in other.err and "use --drafts" in other.err


def test_what_cannot_be_is_refused_in_a_sentence(
    cli: Cli, runs: dict[str, Path], given: str, pairs: Path, discs: Path, tmp_path: Path
) -> None:
    def refused(*words: object, status: int = 2) -> str:
        said = cli(*words, f"--out={tmp_path / 'nothing'}")
        assert said.status == status and said.err.count("\n") == 1 and "Traceback" not in said.err, said.err
        assert not (tmp_path / "nothing").exists()
        return said.err

    line = ["generate", runs["piti"], given]
    both = ["--drafts", runs["fast"]]
    assert "this one is of method ccoopnets" in refused("generate", runs["fast"], given, *both)
    assert "does task recover and this model pairs" in refused(*line, "--drafts", runs["recover"])
    assert "drafts of 16 px are wanted: train it with --size 16" in refused(*line, "--drafts", runs["large"])
    assert "name it with --drafts RUN" in refused(*line, "--level=0.5")
    for level in ("0", "1.5", "-1", "nan"):
        assert "above 0" in refused(*line, *both, f"--level={level}")
    assert "neither --like nor --trace" in refused(*line, *both, "--like", given)
    assert "neither --like nor --trace" in refused(*line, *both, "--trace")
    assert "--drafts is empty" in refused(*line, "--drafts=")
    for more in ([], both):
        assert "100 steps in all" in refused(*line, *more, "--refine=1001")
    assert "100 steps in all" in refused("evaluate", runs["piti"], pairs, "--refine=1001")
    assert "is not a model" in refused(*line, "--drafts", pairs, status=1)
    assert "name it with --drafts RUN" in refused("evaluate", runs["piti"], pairs, "--level=0.5")
    assert "this one is of method ccoopnets" in refused("evaluate", runs["fast"], pairs, *both)


@pytest.mark.parametrize(
    ("mine", "its", "word"),
    [
        ({}, {"condition_channels": 1}, "number of channels in what is given"),
        ({}, {"channels": 1}, "number of channels"),
        ({"half": "left"}, {"half": "right"}, "side of its pictures"),
        ({"half": "left"}, {}, None),  # the same sides as two folders
    ],
)
def test_a_condition_means_the_same_to_both(
    runs: dict[str, Path], mine: dict, its: dict, word: str | None
) -> None:
    run = redraft.Model.from_pretrained(runs["fast"], "cpu").run
    first, second = (replace(run, task=replace(run.task, **changed)) for changed in (mine, its))
    if word is None:
        refuse_drafter(first, second, "there")
    else:
        with pytest.raises(UsageError, match=f"another {word} than this model"):
            refuse_drafter(first, second, "there")


def test_the_report_shows_quality_against_time(
    cli: Cli, runs: dict[str, Path], pairs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    said = cli(
        *("evaluate", runs["piti"], pairs, "--drafts", runs["fast"], "--level=0.6", f"--out={out}"),
        "--device=cpu",
    )
    assert said.status == 0, said.err
    scores = Scores.from_dict(json.loads((out / "scores.json").read_text(), parse_constant=pytest.fail))
    assert list(scores.against_time) == ["draft", "from 0.3", "from 0.6", "from 0.75", "from noise"]
    assert [p.steps for p in scores.against_time["from 0.6"]] == [2, 4, 8]
    assert [p.steps for p in scores.against_time["from noise"]] == [2, 3, 4, 8]
    (draft,) = scores.against_time["draft"]
    assert 0 < draft.milliseconds < min(p.milliseconds for p in scores.against_time["from 0.3"])
    assert {"draft", "refined"} <= scores.rows.keys()
    page = (out / "index.html").read_text()
    assert "Drafts of ccoopnets" in said.out and "times as long as a draft" not in page
    assert "Quality against time" in page and "3 steps from noise" in page and "of ccoopnets" in page
    for row in scores.timed:
        assert html.escape(row) in page and row in said.out


def test_without_drafts_there_is_no_such_table(
    cli: Cli, runs: dict[str, Path], pairs: Path, tmp_path: Path
) -> None:
    assert cli("evaluate", runs["fast"], pairs, f"--out={tmp_path / 'report'}").status == 0
    assert "Quality against time" not in (tmp_path / "report" / "index.html").read_text()
