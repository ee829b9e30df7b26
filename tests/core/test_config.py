"""Settings: there and back, and every mistake answered by a sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from redraft.core.config import from_dict, override, to_dict
from redraft.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1
    kind: Literal["plain", "fancy"] = "plain"
    clip: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    steps: int = 3
    on: bool = False
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.0, 0.9)
    lr: dict[str, float] = field(default_factory=lambda: {"solver": 0.1})
    inner: Inner = Inner()


FINITE = st.floats(allow_nan=False, allow_infinity=False)
outers = st.builds(
    Outer,
    name=st.text(),
    steps=st.integers(),
    on=st.booleans(),
    sizes=st.lists(st.integers()).map(tuple),
    pair=st.tuples(FINITE, FINITE),
    lr=st.dictionaries(st.text(min_size=1), FINITE),
    inner=st.builds(
        Inner,
        rate=FINITE,
        kind=st.sampled_from(["plain", "fancy"]),
        clip=st.none() | FINITE,
    ),
)


@given(outers)
def test_there_and_back_through_yaml(config: Outer) -> None:
    assert from_dict(Outer, yaml.safe_load(yaml.safe_dump(to_dict(config)))) == config


def test_overrides_reach_every_depth() -> None:
    config = override(
        Outer(name="a"),
        ["steps=7", "inner.rate=1e-3", "inner.clip=2", "lr.solver=3", "sizes=[4, 5]", "inner.kind=fancy"],
    )
    inner = Inner(rate=0.001, clip=2.0, kind="fancy")
    assert config == Outer(name="a", steps=7, sizes=(4, 5), lr={"solver": 3.0}, inner=inner)
    assert override(config, ["inner.clip=null"]).inner.clip is None


def test_an_override_leaves_the_original_alone() -> None:
    config = Outer(name="a")
    override(config, ["lr.solver=9"])
    assert config.lr == {"solver": 0.1}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("stepz=3", "'steps'"),
        ("inner.rat=3", "'inner.rate'"),
        ("iner.rate=3", "'inner.rate'"),
        ("lr.solvr=3", "'lr.solver'"),
        ("name.more=3", "name"),
        ("steps", "key=value"),
        ("=3", "key=value"),
        ("steps=many", "steps takes a whole number"),
        ("steps=1.5", "steps takes a whole number"),
        ("steps=true", "steps takes a whole number"),
        ("on=3", "on takes true or false"),
        ("inner.rate=fast", "inner.rate takes a number"),
        ("inner.rate=.nan", "inner.rate takes a finite number, not nan"),
        ("inner.rate=-.inf", "inner.rate takes a finite number, not -inf"),
        ("lr.solver=1e999", "lr.solver takes a finite number, not inf"),
        ("lr.solver=nan", "lr.solver takes a finite number, not nan"),
        ("inner.kind=fancyy", "'fancy'"),
        ("inner=3", "inner holds further settings"),
        ("lr=3", "lr"),
        ("sizes=3", "sizes"),
        ("pair=[1, 2, 3]", "pair"),
        ("steps=[1", "steps"),
        ("inner.kind=[1]", "inner.kind"),
    ],
)
def test_a_mistake_is_a_sentence_that_names_the_place(line: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        override(Outer(name="a"), [line])
    assert says in str(error.value)


def test_named_values_take_new_names() -> None:
    assert override(Outer(name="a"), ["lr.augmentation=0.5"]).lr["augmentation"] == 0.5


def test_unknown_and_missing_keys_of_a_file() -> None:
    with pytest.raises(UsageError, match="'inner.rate'"):
        from_dict(Outer, {"name": "a", "inner": {"ratee": 1}})
    with pytest.raises(UsageError, match="name"):
        from_dict(Outer, {"steps": 1})
