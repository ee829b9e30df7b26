"""Experts as users name them: those of ``nets.experts``, and models that redraft has trained itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import UsageError
from redraft.hub import bundle
from redraft.nets import experts
from redraft.nets.experts import Expert, Listed, Shape

SPREAD = 0.1  # of the noise on the one-hot category of a natural representation


def load(name: str) -> Expert:
    """The expert of this name, frozen, on the CPU.

    KIND:FOLDER of a run or model of redraft, else what ``nets.experts.load`` knows. UsageError and
    BundleError say what is wrong with the name or the folder.
    """
    kind, _, what = name.partition(":")
    if kind in ("text", "image", "generator") and what and ours(Path(what)):
        return _of_model(Path(what), kind, name)
    return experts.load(name)


def lines() -> list[str]:
    """What ``redraft experts`` says: a line for each expert, and how to get what is not here."""
    ours = (
        Listed(name="image:RUN", kind="autoencoder", shape="its own", licence="yours", here=True),
        Listed(name="generator:RUN", kind="generator", shape="its own", licence="yours", here=True),
    )
    all_ = (*experts.listed(), *ours)
    rows = [("name", "kind", "at 64 px", "licence", "here")]
    rows += [(e.name, e.kind, e.shape, e.licence, "yes" if e.here else "no") for e in all_]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    table = ["  ".join(word.ljust(w) for word, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    missing = [f"{e.name}: {e.how}" for e in all_ if not e.here]
    notes = ["RUN: a run or model folder of redraft (image: of --method autoencoder; generator: any other)."]
    return [*table, "", *notes, *(["", "Not here yet:", *missing] if missing else [])]


class Autoencoder(Expert):
    """A model of ``--method autoencoder``. ``folder`` holds it: a bundle that is built on it takes a copy."""

    net: Any

    def __init__(self, model: Any, name: str) -> None:
        super().__init__(
            model.method.initializer,
            name=name,
            kind="autoencoder",
            meaning="a latent learnt from own pictures",
            licence="yours",
        )
        self.folder, self.hash, self.grey = Path(model.place), model.hash, model.task.spec.channels == 1

    def shape(self, size: int) -> Shape:
        return tuple(self.net.latent_shape(size))

    def decides(self) -> str:
        return f"redraft {self.hash}"

    def represent(self, given: Tensor) -> Tensor:
        return self.net.encode(given.mean(1, keepdim=True) if self.grey else given)

    def picture(self, z: Tensor) -> Tensor:
        return self.net.decode(z)


class Generator(Expert):
    """A model that makes pictures of noise, or of noise and a category: its drafts.

    A representation [z, 1, 1] is the noise, and behind it one number for each category, of which the largest
    counts.
    """

    net: Any

    def __init__(self, model: Any, name: str) -> None:
        method, spec = model.method, model.task.spec
        drafts = method.networks.get("initializer") or method.initializer
        super().__init__(
            nn.ModuleDict({"drafts": drafts, "bridge": model.bridge}),
            name=name,
            kind="generator",
            meaning="the noise that a picture is drafted from",
            licence="yours",
        )
        self.folder, self.hash, self.size = Path(model.place), model.hash, spec.size
        self.names = model.task.names if spec.condition == "category" else ()
        self.categories = len(self.names)
        self.z_shape = tuple(drafts.z_shape)
        self.noise = math.prod(self.z_shape)

    def shape(self, size: int) -> Shape:
        if size != self.size:
            raise UsageError(f"{self.name} makes pictures of {self.size} px, not {size}: --size {self.size}.")
        return (self.noise + self.categories, 1, 1)

    def decides(self) -> str:
        return f"redraft {self.hash}"

    def picture(self, z: Tensor) -> Tensor:
        noise, c = z.flatten(1)[:, : self.noise], self.category(z) if self.names else None
        return self.net["bridge"].view(self.net["drafts"](noise.unflatten(1, self.z_shape), c))

    def category(self, z: Tensor) -> Tensor:
        return z.flatten(1)[:, self.noise :].argmax(1)

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """Standard normal noise, and random categories as blurred one-hot numbers, which fills the gaps."""
        z = torch.randn(n, self.noise, generator=rng)
        if self.categories:
            category = torch.randint(self.categories, (n,), generator=rng)
            blur = SPREAD * torch.randn(n, self.categories, generator=rng)
            z = torch.cat([z, F.one_hot(category, self.categories) + blur], 1)
        return z[..., None, None]


def ours(place: Path) -> bool:
    """Whether a folder is a run or a model of redraft, whole or not."""
    if (place / "model").is_dir():
        return True
    try:
        about = json.loads((place / bundle.CONFIG).read_text("utf-8"))
    except (OSError, ValueError):
        return (place / "checkpoints").is_dir()  # a run that has no model yet
    return isinstance(about, dict) and {"format", "redraft"} <= about.keys()


def _of_model(place: Path, kind: str, name: str) -> Expert:
    from redraft.app.model import Model

    model = Model.from_pretrained(place, device="cpu")
    method, given = model.run.method_name, model.task.spec.condition
    encodes = method == "autoencoder"
    if kind == "image" and encodes:
        return Autoencoder(model, name)
    if method == "diffusion":
        raise UsageError(
            f"{place} is a diffusion model, which makes a picture in many passes, so it is no expert; it is "
            "a prior for --method piti."
        )
    if kind == "generator" and not encodes and given in ("none", "category"):
        return Generator(model, name)
    if encodes:
        raise UsageError(f"{place} is an autoencoder: name it image:{place}.")
    if given not in ("none", "category"):
        raise UsageError(
            f"{place} makes pictures of a {given}, so it is no expert; experts are models of "
            "--method autoencoder, and those that make pictures of nothing or of a category."
        )
    raise UsageError(f"{place} makes pictures by {method}: name it generator:{place}.")
