"""Every task: what its condition is, and that what it fixes is kept exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from redraft.core import images
from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, stream
from redraft.data import Example, Folder, Raw, Source
from redraft.spaces.pixels import luma
from redraft.tasks import TASKS
from redraft.tasks.category import CategoryToPicture
from redraft.tasks.colour import Colour
from redraft.tasks.edges import EdgesToPhoto
from redraft.tasks.labels import LabelsToPhoto
from redraft.tasks.none import Nothing
from redraft.tasks.pairs import PictureToPicture
from redraft.tasks.recover import Recover, known
from redraft.tasks.text import TextToPicture
from redraft.tasks.unpaired import Unpaired
from redraft.tasks.upscale import Upscale

SIZE = 16
ALL = {
    "none": Nothing(size=SIZE, channels=3),
    "category": CategoryToPicture(size=SIZE, channels=3, names=("cat", "dog")),
    "text": TextToPicture(size=SIZE, channels=3),
    "labels": LabelsToPhoto(size=SIZE, channels=3, classes=4),
    "edges": EdgesToPhoto(size=SIZE, channels=3),
    "pairs": PictureToPicture(size=SIZE, channels=3),
    "unpaired": Unpaired(size=SIZE, channels=3),
    "recover": Recover(size=SIZE, channels=3),
    "upscale": Upscale(size=SIZE, channels=3),
    "colour": Colour(size=SIZE),
}


def raw(task: str, n: int = 5) -> Raw:
    g = stream(0, task)
    picture = torch.randint(0, 256, (n, 3, SIZE, SIZE), dtype=torch.uint8, generator=g)
    condition = None
    if task == "labels":
        condition = torch.randint(0, 4, (n, 2 * SIZE, 2 * SIZE), dtype=torch.uint8, generator=g)
    if task in ("pairs", "unpaired"):
        condition = picture.flip(3)
    category = torch.arange(n) % 2 if task == "category" else None
    captions = tuple("abcde"[:n]) if task == "text" else ()
    return Raw(
        target=picture, condition=condition, category=category, names=tuple("abcde"[:n]), captions=captions
    )


def folder(**known: object) -> Folder:
    one = (Example("a", Source("a.png")),)
    return Folder(Path("d"), "", "", {"train": one, "test": one}, **known)  # type: ignore[arg-type]


def test_pairs_and_sides_without_pairs_send_to_each_other() -> None:
    one = (Example("b", Source("b.png")),)
    apart = folder(condition_kind="picture", given={"train": one, "test": one})
    assert Unpaired.misfit(apart) is None
    for task in (PictureToPicture, EdgesToPhoto):
        assert "--task unpaired" in (task.misfit(apart) or "")
    assert Unpaired.misfit(folder(condition_kind="picture")) is None  # its pairs are not used
    assert "one side alone" in (Unpaired.misfit(folder()) or "")
    told = Unpaired.misfit(folder(categories=("horses", "zebras"))) or ""
    assert "--direction horses:zebras" in told and "--direction zebras:horses" in told
    assert not Unpaired(size=SIZE, channels=3).spec.paired
    assert all(task.spec.paired for name, task in ALL.items() if name != "unpaired")


def test_all_tasks_are_here() -> None:
    assert set(ALL) == set(TASKS) and all(type(ALL[name]) is TASKS[name] for name in TASKS)


@pytest.mark.parametrize("name", ALL)
def test_a_pair_has_the_shapes_that_the_spec_promises(name: str) -> None:
    task = ALL[name]
    c, x = task.pair(raw(name), BatchNoise(stream(1)))
    spec = task.spec
    assert x.shape == (5, spec.channels, SIZE, SIZE) and x.min() >= -1 and x.max() <= 1
    if spec.condition == "none":
        assert c is None
    elif spec.condition == "category":
        assert c.tolist() == [0, 1, 0, 1, 0]
    elif spec.condition == "sentence":
        assert c.shape == (5, spec.width) and bytes(c[:, 0].tolist()) == b"abcde"
    else:
        assert c.shape == (5, spec.width, SIZE, SIZE) and c.isfinite().all()
    shown = task.show(c, 5)
    assert shown is None if c is None else shown.shape[:2] == (5, 3)


@pytest.mark.parametrize("name", ALL)
def test_the_truth_keeps_what_its_condition_fixes(name: str) -> None:
    """keep changes nothing in the true picture, and applying it twice is applying it once."""
    task = ALL[name]
    c, x = task.pair(raw(name), BatchNoise(stream(1)))
    torch.testing.assert_close(task.keep(x, c), x, rtol=0, atol=1e-5)
    y = torch.rand(x.shape, generator=stream(3)) * 2 - 1
    once = task.keep(y, c)
    torch.testing.assert_close(task.keep(once, c), once, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["upscale", "colour"])
def test_what_is_kept_stays_in_range(name: str) -> None:
    """Also for the wildest drafts: no clamp afterwards can break what the condition fixes."""
    task = ALL[name]
    c, x = task.pair(raw(name), BatchNoise(stream(1)))
    y = task.keep(3 * torch.randn(x.shape, generator=stream(3)), c)
    assert y.abs().max() <= 1 + 1e-5
    again = c if name == "upscale" else c.expand(-1, 3, -1, -1)
    fixed = torch.nn.functional.avg_pool2d(y, 4) if name == "upscale" else luma(y)
    wanted = torch.nn.functional.avg_pool2d(again, 4) if name == "upscale" else c
    torch.testing.assert_close(fixed, wanted, rtol=0, atol=1e-5)


def test_known_pixels_are_kept_to_the_bit() -> None:
    task = ALL["recover"]
    c, x = task.pair(raw("recover"), BatchNoise(stream(1)))
    y = task.keep(torch.zeros_like(x), c)
    mask = c[:, -1:].bool().expand_as(x)
    assert torch.equal(y[mask], x[mask]) and (y[~mask] == 0).all()


@pytest.mark.parametrize("holes", ["centre", "boxes", "strokes", "pixels", "mixed"])
def test_holes_are_holes_and_differ(holes: str) -> None:
    masks = known(holes, 40, 32, BatchNoise(stream(4)))
    assert masks.shape == (40, 1, 32, 32) and set(masks.unique().tolist()) == {0.0, 1.0}
    share = masks.mean((1, 2, 3))
    assert (share < 1).all() and (share > 0.05).all()
    if holes != "centre":
        assert len({m.numpy().tobytes() for m in masks}) > 20


@pytest.mark.parametrize("holes", ["boxes", "strokes", "pixels", "mixed"])
def test_two_processes_cut_the_holes_that_one_would(holes: str) -> None:
    whole = known(holes, 6, 16, BatchNoise(stream(7)))
    shares = [known(holes, 3, 16, BatchNoise(stream(7), rank, 2)) for rank in range(2)]
    assert torch.equal(shares[0], whole[::2]) and torch.equal(shares[1], whole[1::2])


def test_a_reduced_upscale_is_the_small_picture() -> None:
    task = Upscale(size=SIZE, channels=3, factor=4)
    c, x = task.pair(raw("upscale"), BatchNoise(stream(1)))
    y = task.keep(torch.randn(x.shape, generator=stream(5)), c)
    pool = torch.nn.functional.avg_pool2d
    torch.testing.assert_close(pool(y, 4), pool(x, 4), rtol=0, atol=1e-5)
    with pytest.raises(UsageError, match="divisor"):
        Upscale(size=SIZE, channels=3, factor=5)


def test_edges_are_thin_and_where_the_step_is() -> None:
    x = -torch.ones(1, 3, 16, 16)
    x[..., 8:] = 1
    step = Raw(target=((x + 1) * 127.5).byte(), condition=None, category=None, names=("a",))
    lines = ALL["edges"].pair(step, BatchNoise(stream(0))).condition
    dark = (lines[0, 0] < 0).float()
    assert (dark.sum(1)[1:-1] == 1).all() and (dark.nonzero()[:, 1] - 7.5).abs().max() < 1


def test_a_category_is_named_in_any_case_and_an_unknown_one_offers_the_nearest() -> None:
    task = ALL["category"]
    assert task.read("CAT", BatchNoise(stream(0))).tolist() == [0]
    with pytest.raises(UsageError, match="did you mean 'dog'"):
        task.read("dgo", BatchNoise(stream(0)))


def test_of_a_side_by_side_picture_the_given_half_is_read(tmp_path: Path) -> None:
    both = torch.full((3, SIZE, 2 * SIZE), 1.0)
    both[:, :, SIZE:] = -1.0
    images.write(both, tmp_path / "both.png", {})
    for half, shade in (("left", 1.0), ("right", -1.0)):
        task = PictureToPicture(size=SIZE, channels=3, half=half)
        assert (task.read(str(tmp_path / "both.png"), BatchNoise(stream(0))) == shade).all()
