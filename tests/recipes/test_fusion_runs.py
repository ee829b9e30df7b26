"""The paper's fusion: its flows, to the number of their weights, and what they cannot make."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from redraft.core.errors import UsageError
from redraft.core.rng import BatchNoise, stream
from redraft.core.types import Pair
from redraft.nets.blocks import parameters
from redraft.recipes import RECIPES, Run, build
from redraft.recipes.ends import Condition, Ends, Target
from redraft.tasks.category import CategoryToPicture
from redraft.tasks.pairs import PictureToPicture
from redraft.tasks.task import Task
from redraft.tasks.text import TextToPicture
from redraft.tasks.unpaired import Unpaired
from redraft.training.update import Update

DOMAINS = CategoryToPicture(size=32, channels=3, names=("portrait", "photo"))
SIDES = Unpaired(size=32, channels=3)
PAIRS = PictureToPicture(size=32, channels=3)
WORDS = TextToPicture(size=32, channels=3)


def ends(d: int, condition: int = 0) -> Ends:
    seen = Condition(expert="image:other", shape=(condition,)) if condition else Condition()
    return Ends(condition=seen, target=Target(latent="image:vectors", shape=(d, 1, 1)))


@pytest.mark.parametrize(
    ("task", "between", "millions", "batch", "rate"),
    [
        (PAIRS, ends(128, 128), 189.2, 6, 2.7e-5),  # faces of 32 px to faces of 256 px
        (DOMAINS, ends(128), 179.5, 15, 6.75e-5),  # portraits to photos
        (SIDES, ends(128), 179.5, 15, 6.75e-5),  # the same from two sides
        (WORDS, ends(268, 768), 254.7, 16, 7.2e-5),  # sentences to BigGAN
        (WORDS, ends(256, 1024), 252.4, 16, 7.2e-5),  # sentences to COCO
        (WORDS, ends(120, 1024), 239.1, 16, 7.2e-5),  # sentences to BigBiGAN
    ],
)
def test_the_papers_flows(task: Task, between: Ends, millions: float, batch: int, rate: float) -> None:
    run = RECIPES["classic"](task, "fusion", 1000, 0, between)
    with torch.device("meta"):
        method = build(run)
    assert run.method_name == "fusion" and round(parameters(method) / 1e6, 1) == millions
    assert run.train.batch == batch and run.train.lr == {"initializer": pytest.approx(rate)}
    assert run.train.betas == {"initializer": (0.5, 0.9)} and run.train.amsgrad
    assert run.method.data_noise == 0
    assert Run.from_dict(run.to_dict()) == run


def test_a_condition_of_maps_reaches_the_papers_vectors_through_convolutions() -> None:
    """The paper's Table 4: z_Φ [C, s, s] -> convolutions -> flattened -> dense, one h for all blocks."""
    between = Ends(condition=Condition(expert="image:maps", shape=(32, 8, 8)), target=ends(12).target)
    run = RECIPES["classic"](PAIRS, "fusion", 1000, 0, between)
    flow = run.networks.flow
    run = replace(run, networks=replace(run.networks, flow=replace(flow, blocks=2, width=16)))
    method = build(run)
    assert (flow.blocks, flow.embed, run.train.batch) == (20, 128, 6)
    g = torch.Generator().manual_seed(0)
    batch = Pair(torch.randn(6, 32, 8, 8, generator=g), torch.randn(6, 12, 1, 1, generator=g))
    method.begin(batch)
    update = Update(method.networks, run.train)
    losses = [method.step(batch, update, BatchNoise(stream(0, t)))["loss_initializer"] for t in range(10)]
    assert losses[-1] < losses[0]
    assert method.generate(batch.condition, 6, BatchNoise(stream(1))).drafts.shape == (6, 12, 1, 1)


def test_maps_and_pixels_are_none_of_the_papers() -> None:
    for between in (Ends(), Ends(target=Target(latent="image:maps", shape=(32, 4, 4)))):
        with pytest.raises(UsageError, match="--recipe modern"):
            RECIPES["classic"](PAIRS, "fusion", 1000, 0, between)
