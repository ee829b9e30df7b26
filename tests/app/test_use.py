"""A trained model in use: pictures, scores, traces, replays, reports."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from painting import Cli
from PIL import Image

import redraft
from redraft.core import errors, images


@pytest.fixture(scope="module")
def model(recover_run: Path) -> redraft.Model:
    return redraft.Model.from_pretrained(recover_run, device="cpu")


@pytest.fixture(scope="module")
def ball(discs: Path) -> str:
    return str(discs / "ball" / "01.png")


def test_a_run_holds_everything(recover_run: Path) -> None:
    for name in ("run.yaml", "environment.json", "metrics.csv", "model/config.json", "model/README.md"):
        assert (recover_run / name).stat().st_size > 0, name
    assert list((recover_run / "checkpoints").iterdir()) and list((recover_run / "samples").glob("*.png"))


def test_known_pixels_come_out_as_they_went_in(model: redraft.Model, ball: str) -> None:
    made = model(ball, variants=2)
    given = images.to_tensor(images.read(ball))
    middle = torch.zeros(32, 32, dtype=torch.bool)
    middle[8:24, 8:24] = True
    for picture in made.images:
        assert torch.equal(picture[:, ~middle], given[:, ~middle])
    assert not torch.equal(made.images[0], made.images[1])


def test_the_same_seed_gives_the_same_picture_and_another_another(model: redraft.Model, ball: str) -> None:
    a, b, c = model(ball, seed=1), model(ball, seed=1), model(ball, seed=2)
    assert torch.equal(a.images, b.images) and not torch.equal(a.images, c.images)


def test_scores_are_percentiles_and_best_of_keeps_the_best(model: redraft.Model, ball: str) -> None:
    many, best = model(ball, variants=6), model(ball, variants=2, best_of=6)
    assert ((many.percentiles >= 0) & (many.percentiles <= 100)).all()
    order = many.energies.argsort()[:2]
    assert best.variants == order.tolist()
    torch.testing.assert_close(best.images, many.images[order], rtol=0, atol=1e-5)
    ranked = many.percentiles[many.energies.argsort()]
    assert (ranked.diff() <= 0).all()  # lower energy, better percentile


def test_generate_and_explain_replay_to_the_same_pixels(
    cli: Cli, recover_run: Path, ball: str, tmp_path: Path
) -> None:
    said = cli(
        "generate",
        recover_run,
        ball,
        "--variants",
        3,
        "--seed",
        4,
        "--out",
        tmp_path / "out",
        "--device",
        "cpu",
    )
    files = sorted((tmp_path / "out").glob("*.png"))
    assert said.status == 0 and len(files) == 3 and "better than" in said.out
    for file in files:
        told = cli("explain", file)
        assert told.status == 0 and "same pixels" in told.out
        for key in ("model_hash", "seed", "steps", "energy", "percentile"):
            assert key in told.out
    edited = images.read(files[0]).copy()
    edited[0, 0] = 255 - edited[0, 0]
    info = images.read_info(files[0])
    images.write(images.to_tensor(edited), tmp_path / "edited.png", info)
    told = cli("explain", tmp_path / "edited.png")
    assert told.status == 1 and "differs in 1 pixels" in told.out


def test_a_folder_of_conditions_at_16_bit(cli: Cli, recover_run: Path, discs: Path, tmp_path: Path) -> None:
    said = cli(
        "generate", recover_run, discs / "ball", "--refine", 0, "--bits", 16, "--out", tmp_path / "out"
    )
    files = sorted((tmp_path / "out").glob("*.png"))
    assert said.status == 0 and len(files) == 20
    assert images.read(files[0]).dtype == np.uint16
    assert cli("explain", files[3]).status == 0


def test_a_trace_shows_the_chain(cli: Cli, recover_run: Path, ball: str, tmp_path: Path) -> None:
    cli("generate", recover_run, ball, "--trace", "--refine", 5, "--out", tmp_path / "out")
    (film,) = (tmp_path / "out").glob("*.trace.png")
    with Image.open(film) as picture:
        assert picture.n_frames >= 2
    assert len(list((tmp_path / "out").glob("*.change.png"))) == 1
    assert "<svg" in next((tmp_path / "out").glob("*.energy.svg")).read_text()


def test_names_that_would_be_alike_are_not(cli: Cli, recover_run: Path, ball: str, tmp_path: Path) -> None:
    for name in ("A/0.png", "B/0.png", "a b.png", "a-b.png"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(Path(ball).read_bytes())
    given = [tmp_path / name for name in ("A/0.png", "B/0.png", "a b.png", "a-b.png")]
    said = cli("generate", recover_run, *given, "--refine", 0, "--out", tmp_path / "out")
    assert said.status == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"0.png", "0-2.png", "a-b.png", "a-b-2.png"}


def test_conditions_in_memory_are_read_as_files_are(model: redraft.Model, ball: str) -> None:
    there = model(ball).images
    array = images.read(ball)
    for given in (Path(ball), array, Image.open(ball), [array]):
        assert torch.equal(model(given).images, there)
    assert model([ball, array]).images.shape[0] == 2


def test_saved_pictures_can_be_explained(
    cli: Cli, model: redraft.Model, ball: str, discs: Path, tmp_path: Path
) -> None:
    made = model([ball, str(discs / "dot" / "00.png")], variants=3, best_of=4)
    files = made.save(tmp_path / "saved")
    assert len({*files}) == 6 and len(repr(made)) < 80 and made.pictures[0].size == (32, 32)
    for file in files:
        assert cli("explain", file).status == 0
    with pytest.raises(errors.UsageError, match="exists"):
        made.save(tmp_path / "saved")


def test_classic_models_replay_their_own_chunk(cli: Cli, discs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = cli(
        "train", discs, "--task", "category", "--recipe", "classic", "--size", 32, "--steps", 2, "--out", run,
        "--device", "cpu", "--set", "train.batch=4", "--set", "method.langevin.steps=2",
    )  # fmt: skip
    assert said.status == 0, said.err
    assert cli("generate", run, "ball", "--variants", 3, "--out", tmp_path / "out").status == 0
    for file in (tmp_path / "out").glob("*.png"):
        told = cli("explain", file)
        assert told.status == 0, told.out


def test_save_and_open_again(model: redraft.Model, ball: str, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "copy")
    again = redraft.Model.from_pretrained(tmp_path / "copy", device="cpu")
    assert again.hash == model.hash
    assert torch.equal(again(ball).images, model(ball).images)


def test_evaluate_writes_a_report_with_controls(
    cli: Cli, recover_run: Path, discs: Path, tmp_path: Path
) -> None:
    said = cli("evaluate", recover_run, discs, "--out", tmp_path / "report", "--device", "cpu")
    assert said.status == 0, said.err
    page = (tmp_path / "report" / "index.html").read_text()
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert {"draft", "refined"} <= set(scores["rows"]) and len(scores["rows"]) >= 4
    for row in scores["rows"]:
        assert html.escape(row) in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_resume_of_a_finished_run_changes_nothing(cli: Cli, discs: Path, recover_run: Path) -> None:
    before = (recover_run / "model" / "model.safetensors").read_bytes()
    tiny = [
        "networks.solver_width=8",
        "networks.initializer_width=8",
        "train.batch=4",
        "method.langevin.steps=2",
    ]
    words = [w for s in tiny for w in ("--set", s)]
    said = cli(
        "train",
        discs,
        "--task",
        "recover",
        "--size",
        32,
        "--steps",
        4,
        "--resume",
        "--out",
        recover_run,
        *words,
    )
    assert said.status == 0, said.err
    assert (recover_run / "model" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("task", ["none", "category", "edges", "upscale", "colour"])
def test_every_task_trains_and_makes_pictures(cli: Cli, discs: Path, tmp_path: Path, task: str) -> None:
    tiny = [
        "networks.solver_width=8",
        "networks.initializer_width=8",
        "train.batch=4",
        "method.langevin.steps=2",
    ]
    words = [w for s in tiny for w in ("--set", s)]
    run = tmp_path / "run"
    said = cli(
        "train", discs, "--task", task, "--size", 32, "--steps", 2, "--out", run, "--device", "cpu", *words
    )
    assert said.status == 0, said.err
    given = {"none": [], "category": ["ball", "dot"]}.get(task, [str(discs / "dot" / "00.png")])
    made = cli("generate", run, *given, "--variants", 2, "--out", tmp_path / "out")
    assert made.status == 0, made.err
    files = list((tmp_path / "out").glob("*.png"))
    assert len(files) == 2 * max(1, len(given))
    assert cli("explain", files[0]).status == 0
