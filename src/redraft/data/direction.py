"""Which side of a pair is given, and which is wanted: by names, else by content, else asked."""

from __future__ import annotations

import re
from collections.abc import Callable

from redraft.core.errors import Ambiguous, UsageError
from redraft.data import labelmaps

TARGETS = {
    "photo", "photos", "photograph", "photographs", "image", "images", "img", "imgs", "color", "colour",
    "colors", "colours", "coloured", "colored", "real", "target", "targets", "output", "outputs", "hr",
    "clean", "sharp", "rgb", "original", "originals", "picture", "pictures",
}  # fmt: skip
DRAWINGS = {
    "sketch", "sketches", "line", "lines", "lineart", "edge", "edges", "drawing", "drawings", "contour",
    "contours", "outline", "outlines",
}  # fmt: skip
LABELS = {
    "label", "labels", "mask", "masks", "seg", "segs", "segmentation", "segmentations", "semantic",
    "annotation", "annotations", "labelmap", "labelmaps", "parsing",
}  # fmt: skip
CONDITIONS = DRAWINGS | LABELS | {
    "condition", "conditions", "conditioning", "input", "inputs", "source", "sources", "lr", "blur",
    "blurred", "noisy", "grey", "gray", "depth", "normal", "normals", "pose", "poses",
}  # fmt: skip
Look = Callable[[str], labelmaps.Sample]  # side -> some of its pictures


def tokens(name: str) -> set[str]:
    """The words of a file or folder name: "train_Photos-2" -> {"train", "photos", "2"}."""
    apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return set(re.split(r"[^a-z0-9]+", apart.lower())) - {""}


def role(name: str) -> str:
    """ "condition", "target" or "" as the words of a name have it."""
    words = tokens(name)
    given, wanted = words & CONDITIONS, words & TARGETS
    if bool(given) == bool(wanted):  # "image_labels" are labels: the later word is the noun
        last = re.split(r"[^a-z0-9]+", name.lower())[-1]
        return "condition" if last in CONDITIONS else "target" if given and last in TARGETS else ""
    return "condition" if given else "target"


def names_drawings(name: str) -> bool:
    return bool(tokens(name) & DRAWINGS)


def names_labels(name: str) -> bool:
    return bool(tokens(name) & LABELS)


def choose(
    sides: tuple[str, str], direction: str | None, look: Look, *, or_classes: bool = False
) -> tuple[str, str]:
    """(condition side, target side); raises Ambiguous with both answers when nothing tells."""
    answers = [f"--direction {a}:{b}" for a, b in (sides, sides[::-1])]
    if or_classes:
        answers.append("--direction classes")
    if direction:
        return _told(sides, direction, answers)
    first, second = sides
    roles = role(first), role(second)
    if roles in (("condition", "target"), ("condition", ""), ("", "target")):
        return sides
    if roles in (("target", "condition"), ("target", ""), ("", "condition")):
        return second, first
    kinds = {side: labelmaps.kind_of(look(side)) for side in sides}
    drawn = [side for side in sides if kinds[side] != "picture"]
    if [s.upper() for s in sides] == ["A", "B"]:  # A is given by custom, unless it looks wanted
        if drawn != ["B"] and drawn != [second]:
            return sides
    elif len(drawn) == 1:
        return drawn[0], second if drawn[0] == first else first
    elif {kinds[s] for s in drawn} == {"labels", "drawing"}:
        return (first, second) if kinds[first] == "drawing" else (second, first)
    raise Ambiguous(f"Which of {first} and {second} is given, and which is wanted?", answers)


def _told(sides: tuple[str, str], direction: str, answers: list[str]) -> tuple[str, str]:
    given, colon, wanted = direction.partition(":")
    if not colon and re.fullmatch(r"[abAB](to|2)[abAB]", direction):
        given, wanted = direction[0].upper(), direction[-1].upper()
    by_name = {s.lower(): s for s in sides} | {"a": sides[0], "b": sides[1]} | {s: s for s in sides}
    pair = (
        by_name.get(given) or by_name.get(given.lower()),
        by_name.get(wanted) or by_name.get(wanted.lower()),
    )
    if None in pair or pair[0] == pair[1]:
        raise UsageError(f"--direction {direction} does not fit these sides; use {' or '.join(answers)}.")
    return pair[0] or "", pair[1] or ""
