"""From a name to an expert. A name is KIND:WHAT; what a kind takes is in the two functions below."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from redraft.core.errors import BundleError, RedraftError, UsageError, unknown
from redraft.nets.experts import biggan, diffusion, efficientnet, taef2, text, timm_models
from redraft.nets.experts.blackbox import from_onnx
from redraft.nets.experts.expert import Expert

GROUP = "redraft.experts"  # of entry points: name = "package.module:function", which returns an Expert
PICTURES = 64  # px: the side at which representations are told in a list


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A line of ``redraft experts``."""

    name: str
    kind: str
    shape: str  # of a representation, for pictures of 64 px where it depends on them
    licence: str
    here: bool  # whether it can be used as things are
    how: str = ""  # to get it, where it is not here


OWN: dict[str, Callable[[], Expert]] = {  # those with a name of their own
    text.MINILM: text.minilm,
    taef2.NAME: taef2.Taef2,
    efficientnet.NAME: efficientnet.pooled,
}
NEAREST = {"text": text.MINILM, "image": taef2.NAME, "generator": taef2.NAME}


def load(name: str) -> Expert:
    """The expert of this name, frozen, on the CPU.

    UsageError where it is not here (how to get it, and which is nearest), BundleError where its folder or
    file cannot be used.
    """
    if name in OWN:
        return OWN[name]()
    for point in metadata.entry_points(group=GROUP):
        if point.name == name:
            return _added(point)
    kind, _, what = name.partition(":")
    if kind not in NEAREST or not what:
        raise unknown("expert", name, names())
    for other in OWN:
        if other.partition(":")[2] == what:
            raise UsageError(
                f"{name} does not exist: {what} is an expert for {_GIVEN[other]}, named {other}."
            )
    if kind == "text":
        return _text(what)
    return _image(what) if kind == "image" else biggan.from_folder(what)


def names() -> tuple[str, ...]:
    """Of all experts that need no folder: redraft's own and those of installed packages."""
    return (*OWN, *(point.name for point in metadata.entry_points(group=GROUP)))


def listed() -> tuple[Listed, ...]:
    """What there is: by name, then the kinds of folders and files that are read, then what packages add."""
    minilm, lite = _has("transformers", text.PACKAGE), _has(*efficientnet.PACKAGES)
    own = (
        Listed(name=text.MINILM, kind="text", shape="384", licence="Apache-2.0", here=minilm, how=text.GET),
        Listed(name=taef2.NAME, kind="autoencoder", shape="32 x 8 x 8", licence="MIT", here=True),
        Listed(
            name=efficientnet.NAME,
            kind="image",
            shape="1280",
            licence="Apache-2.0",
            here=lite,
            how=efficientnet.GET,
        ),
        Listed(
            name=f"{efficientnet.NAME}/2",
            kind="image",
            shape="24 x 16 x 16",
            licence="Apache-2.0",
            here=lite,
            how=f"{efficientnet.GET} (stages 1 to 7 of the network, early to late)",
        ),
    )
    doors = (
        ("text:FOLDER or OWNER/NAME", "text", "transformers", text.GET),
        ("image:FOLDER or OWNER/NAME", "autoencoder", "diffusers", diffusion.GET),
        ("image:FILE.onnx", "image", "onnxruntime", 'pip install "redraft[onnx]"'),
        ("image:timm/NAME", "image", "timm", timm_models.GET),
        ("generator:FOLDER", "generator", biggan.PACKAGE, biggan.GET),
    )
    read = tuple(
        Listed(name=name, kind=kind, shape="its own", licence="its own", here=_has(package), how=how)
        for name, kind, package, how in doors
    )
    return (*own, *read, *(_described(point) for point in metadata.entry_points(group=GROUP)))


_GIVEN = {text.MINILM: "sentences", taef2.NAME: "pictures", efficientnet.NAME: "pictures"}


def _text(what: str) -> Expert:
    if Path(what).is_file():
        raise UsageError(
            f"text:{what} is a file; a sentence encoder is a folder with config.json and weights."
        )
    _refuse_misspelt("text", what)
    return text.sentences(what)


def _image(what: str) -> Expert:
    if what.startswith("timm/"):
        return timm_models.by_name(what.removeprefix("timm/"))
    if what.startswith(efficientnet.SHORT + "/"):
        return efficientnet.stage(what.removeprefix(efficientnet.SHORT + "/"))
    if Path(what).suffix.lower() == ".onnx":
        return from_onnx(Path(what))
    if Path(what).is_file():
        raise UsageError(f"image:{what} is no ONNX file; named are FILE.onnx and a folder of diffusers.")
    _refuse_misspelt("image", what)
    return diffusion.autoencoder(what)


def _refuse_misspelt(kind: str, what: str) -> None:
    """A word that is no path and no name of the hub was meant as one of ours."""
    if "/" in what or Path(what).exists():
        return
    known = [name for name in names() if name.startswith(f"{kind}:")]
    near = difflib.get_close_matches(f"{kind}:{what}", known, n=1, cutoff=0.6) or [NEAREST[kind]]
    raise UsageError(
        f"There is no expert {kind}:{what} and no such folder; nearest at hand: {near[0]}. "
        "What there is, and how to get more: redraft experts."
    )


def _has(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) for package in packages)


def _added(point: metadata.EntryPoint) -> Expert:
    """An expert that an installed package adds; its own failures are one sentence that names the package."""
    try:
        expert = point.load()()
    except RedraftError:
        raise
    except Exception as problem:  # code of others
        raise BundleError(
            f"The expert {point.name} ({point.value}) of an installed package failed: "
            f"{type(problem).__name__}: {problem}."
        ) from problem
    if not isinstance(expert, Expert):
        raise BundleError(
            f"{point.value} is to return a redraft.nets.experts.Expert, not {type(expert).__name__}."
        )
    return expert


def _described(point: metadata.EntryPoint) -> Listed:
    try:
        expert = _added(point)
    except RedraftError as problem:
        return Listed(name=point.name, kind="?", shape="?", licence="?", here=False, how=str(problem))
    shape = " x ".join(map(str, expert.shape(PICTURES)))
    return Listed(name=point.name, kind=expert.kind, shape=shape, licence=expert.licence, here=True)
