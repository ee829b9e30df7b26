"""What experts make of a folder is computed once, kept whole or not at all, and is what they would make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from painting import paint
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from toys import CELL, IMAGE, TEXT, Cells, Letters, at_hand

from redraft.app import represent as room
from redraft.app.begin import pictures_key
from redraft.app.bridges import bridge, ends
from redraft.app.examples import store
from redraft.app.represent import Codes, represent
from redraft.core.errors import DataError
from redraft.data import Loader, Store, recognise
from redraft.nets.experts import BlackBox
from redraft.recipes import RECIPES
from redraft.recipes.run import Run
from redraft.spaces.bridge import REACH, Bridge
from redraft.tasks import TASKS

SIZE = 16
CPU = torch.device("cpu")
Made = tuple[Store, Run, Bridge, Codes]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("represent")
    for i in range(20):
        paint(root / "words" / f"{i:02d}.png", i, SIZE)
        (root / "words" / f"{i:02d}.txt").write_text(f"a {('red', 'blue')[i % 2]} ball")
        paint(root / "pairs" / "trainA" / f"{i:02d}.png", i, SIZE)
        paint(root / "pairs" / "trainB" / f"{i:02d}.png", i + 50, SIZE)
        paint(root / "sides" / "trainB" / f"z{i:02d}.png", i + 90, SIZE)
    for i in range(33):
        paint(root / "sides" / "trainA" / f"h{i:02d}.png", i, SIZE)
    return root


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Letters, Cells]:
    monkeypatch.setenv("REDRAFT_CACHE", str(tmp_path / "cache"))
    words, cells = Letters(), Cells()
    at_hand(monkeypatch, words, cells)
    return words, cells


def planned(folder: Path, task: str, *settings: str, method: str = "fusion") -> tuple[Store, Run]:
    found = recognise(folder)
    made = TASKS[task].of(found, SIZE)
    run = RECIPES["modern"](made, method, 10, 0, ends(made, method, settings))
    return store(found, "train", run), run


def made(folder: Path, task: str, *settings: str, method: str = "fusion") -> Made:
    data, run = planned(folder, task, *settings, method=method)
    between = bridge(run)
    return data, run, between, represent(data, run, between, pictures_key(data), CPU)


def test_experts_look_once_and_two_runs_share_what_they_saw(
    folders: Path, toys: tuple[Letters, Cells], capsys: pytest.CaptureFixture[str]
) -> None:
    words, cells = toys
    names = (f"condition.expert={TEXT}", f"target.latent={IMAGE}")
    data, _, _, codes = made(folders / "words", "text", *names)
    assert codes.given is not None and codes.wanted is not None
    assert codes.given.shape == (1, len(data), 26) and codes.wanted.shape == (1, len(data), 48, 4, 4)
    assert sorted(words.read) == ["a blue ball", "a red ball"]  # each wording once
    assert cells.seen == len(data) and codes.given.dtype == codes.wanted.dtype == np.float16
    said = capsys.readouterr().out
    assert f"{IMAGE} looks at {len(data)} wanted pictures" in said and "2 different captions" in said
    _, _, _, again = made(folders / "words", "text", *names)
    _, _, _, other = made(folders / "words", "text", *names, method="gan")
    assert cells.seen == len(data) and len(words.read) == 2 and not capsys.readouterr().out
    for codes_ in (again, other):
        assert codes_.given is not None and isinstance(codes_.given, np.memmap)
        assert (codes_.given == codes.given).all() and (codes_.wanted == codes.wanted).all()


def test_captions_that_change_and_other_weights_are_looked_at_anew(
    folders: Path, toys: tuple[Letters, Cells], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, cells = toys
    names = (f"condition.expert={TEXT}", f"target.latent={IMAGE}")
    data, run = planned(folders / "words", "text", *names)
    other = replace(data, captions=("a blue dot", *data.captions[1:]))
    first = represent(data, run, bridge(run), pictures_key(data), CPU)
    second = represent(other, run, bridge(run), pictures_key(other), CPU)
    assert first.given is not None and second.given is not None
    assert not (first.given[0, 0] == second.given[0, 0]).all()
    assert (first.given[0, 1:] == second.given[0, 1:]).all()
    before = cells.seen
    heavier = Cells(2.0)
    at_hand(monkeypatch, heavier)
    _, _, _, codes = made(folders / "words", "text", *names)
    assert cells.seen == before and heavier.seen == len(data)
    assert first.wanted is not None and codes.wanted is not None
    np.testing.assert_allclose(codes.wanted, 2 * first.wanted.astype(np.float32), atol=2e-3)


def test_a_mirrored_view_is_what_experts_make_of_the_mirrored_picture(
    folders: Path, toys: tuple[Letters, Cells]
) -> None:
    data, run, between, codes = made(
        folders / "pairs", "pairs", f"condition.expert={IMAGE}", f"target.latent={IMAGE}"
    )
    codes.fit(between)
    assert run.reading.flip and codes.given is not None and len(codes.given) == 2
    loader = Loader(data, batch=12, seed=3, size=SIZE, flip=True)
    raw = loader.batch(0)
    assert raw.mirrored.any() and not raw.mirrored.all()
    pair = run.task.pair(raw, None)  # type: ignore[arg-type]  # nothing is drawn
    seen = codes.see(between, raw, pair)
    assert pair.condition is not None and seen.condition is not None
    wanted, given = between.wanted(pair.target), between.given(pair.condition)
    torch.testing.assert_close(seen.target, wanted, atol=2e-3, rtol=0)  # half precision on [-1, 1]
    torch.testing.assert_close(seen.condition, given, atol=6e-3, rtol=0)


def test_pictures_of_16_bits_are_mirrored_too(tmp_path: Path, toys: tuple[Letters, Cells]) -> None:
    g = np.random.default_rng(0)
    for side in ("trainA", "trainB"):
        (tmp_path / "deep" / side).mkdir(parents=True)
        for i in range(12):
            deep = g.integers(0, 2**16, (SIZE, SIZE), dtype=np.uint16)
            Image.fromarray(deep).save(tmp_path / "deep" / side / f"{i:02d}.png")
    data, _, _, codes = made(tmp_path / "deep", "unpaired", f"target.latent={IMAGE}")
    assert data.target.dtype == np.uint16 and codes.wanted is not None and len(codes.wanted) == 2
    back = F.pixel_shuffle(torch.from_numpy(codes.wanted.astype(np.float32)).flatten(0, 1), CELL)
    plain, mirrored = back.chunk(2)
    torch.testing.assert_close(mirrored, plain.flip(-1), atol=2e-3, rtol=0)


def test_sides_without_pairs_have_rows_of_their_own_and_one_scale(
    folders: Path, toys: tuple[Letters, Cells]
) -> None:
    data, run, between, codes = made(folders / "sides", "unpaired", f"target.latent={IMAGE}")
    codes.fit(between)
    assert data.condition is not None and codes.given is not None and codes.wanted is not None
    assert codes.given.shape[1] == len(data.condition) != len(data) == codes.wanted.shape[1]
    torch.testing.assert_close(between.given_mean, between.mean)
    torch.testing.assert_close(between.given_std, between.std)
    both = np.concatenate([codes.given[0], codes.wanted[0]]).astype(np.float32)
    torch.testing.assert_close(
        between.mean.flatten(), torch.from_numpy(both.mean((0, 2, 3))), atol=1e-5, rtol=0
    )
    loader = Loader(data, batch=40, seed=1, size=SIZE, flip=True)
    raw = loader.batch(1)
    pair = run.task.pair(raw, None)  # type: ignore[arg-type]
    seen = codes.see(between, raw, pair)
    assert pair.condition is not None and seen.condition is not None
    torch.testing.assert_close(seen.condition, between.given(pair.condition), atol=6e-3, rtol=0)
    torch.testing.assert_close(seen.target, between.wanted(pair.target), atol=2e-3, rtol=0)


def test_scales_are_the_training_sets(folders: Path, toys: tuple[Letters, Cells]) -> None:
    _, _, between, codes = made(
        folders / "words",
        "text",
        f"condition.expert={TEXT}",
        f"target.latent={IMAGE}",
        "target.components=0",
    )
    codes.fit(between)
    assert codes.wanted is not None and codes.given is not None
    z = between.scaled(torch.from_numpy(codes.wanted[0].astype(np.float32)))
    std, mean = torch.std_mean(z, (0, 2, 3))
    torch.testing.assert_close(mean, torch.zeros(48), atol=1e-4, rtol=0)
    torch.testing.assert_close(std, torch.full((48,), 1 / REACH), atol=1e-3, rtol=0)
    v = between.scaled_given(torch.from_numpy(codes.given[0].astype(np.float32)))
    assert v.abs().max() < 2  # letters that never change stay finite


class Killed(BaseException):
    pass


def test_a_killed_writer_leaves_nothing(
    folders: Path, toys: tuple[Letters, Cells], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def killed(file: Path, array: np.ndarray) -> None:
        Path(file).write_bytes(b"half")
        raise Killed

    save = np.save
    monkeypatch.setattr(room.np, "save", killed)
    with pytest.raises(Killed):
        made(folders / "words", "none", f"target.latent={IMAGE}")
    kept = tmp_path / "cache" / "representations"
    assert not list(kept.iterdir())
    monkeypatch.setattr(room.np, "save", save)
    made(folders / "words", "none", f"target.latent={IMAGE}")
    assert [p.suffix for p in kept.iterdir()] == [".npy"]


def expert_of(function: Callable[[Tensor], Tensor]) -> BlackBox:
    return BlackBox(
        function,
        name=IMAGE,
        kind="autoencoder",
        shape=(2, 1, 1),
        back=lambda z: torch.zeros(len(z), 3, SIZE, SIZE),
    )


def two(x: Tensor) -> Tensor:
    return x.mean((2, 3))[:, :2, None, None]


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: 0 * two(x) + 7, "makes the same of every example here"),
        (lambda x: two(x) / 0, "not finite"),
    ],
)
def test_representations_that_say_nothing(
    folders: Path,
    toys: tuple[Letters, Cells],
    monkeypatch: pytest.MonkeyPatch,
    function: Callable[[Tensor], Tensor],
    says: str,
) -> None:
    at_hand(monkeypatch, expert_of(function))
    with pytest.raises(Exception, match=says):
        made(folders / "words", "none", f"target.latent={IMAGE}")


def test_captions_that_are_all_alike(folders: Path, toys: tuple[Letters, Cells]) -> None:
    data, run = planned(folders / "words", "text", f"condition.expert={TEXT}")
    data = replace(data, captions=("a ball",) * len(data))
    with pytest.raises(DataError, match=r"condition's expert makes the same"):
        represent(data, run, bridge(run), pictures_key(data), CPU)


def test_duplicates_are_told(
    folders: Path, toys: tuple[Letters, Cells], capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = planned(folders / "words", "none", f"target.latent={IMAGE}")
    data = replace(data, target=data.target[np.arange(len(data)) % 3])
    represent(data, run, bridge(run), pictures_key(data), CPU)
    assert f"Only 3 of {len(data)} wanted representations differ" in capsys.readouterr().out


def test_numbers_that_half_precision_cannot_tell_apart_are_kept_whole(
    folders: Path, toys: tuple[Letters, Cells], monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in (
        lambda x: 1e6 * two(x),
        lambda x: 1000 + 0.01 * two(x),
    ):
        at_hand(monkeypatch, expert_of(function))
        data, _, between, codes = made(folders / "words", "none", f"target.latent={IMAGE}")
        assert codes.wanted is not None and codes.wanted.dtype == np.float32
        x = torch.from_numpy(np.array(data.target)).float() / 127.5 - 1
        torch.testing.assert_close(
            torch.from_numpy(np.array(codes.wanted[0])), function(x).float(), rtol=1e-5, atol=1e-5
        )


def test_how_far_an_expert_has_come_is_told(
    folders: Path,
    toys: tuple[Letters, Cells],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(room, "BATCH", 4)
    monkeypatch.setattr(room, "EVERY", 0.0)
    data, *_ = made(folders / "words", "none", f"target.latent={IMAGE}")
    lines = capsys.readouterr().out.splitlines()
    assert f"{IMAGE}: 4 of {len(data)}" in lines and f"{IMAGE}: {len(data)} of {len(data)}" not in lines


def test_scales_are_of_what_is_learnt_from(folders: Path, toys: tuple[Letters, Cells]) -> None:
    """Every third example is held back: other values there change nothing."""
    _, _, between, codes = made(folders / "words", "none", f"target.latent={IMAGE}", "target.components=0")
    codes.fit(between, 3)
    assert codes.wanted is not None
    seen, wild = between.mean.clone(), np.array(codes.wanted)
    wild[:, 2::3] = 100
    Codes(None, wild).fit(between, 3)
    torch.testing.assert_close(between.mean, seen)
    Codes(None, wild).fit(between)
    assert (between.mean - seen).abs().min() > 1
