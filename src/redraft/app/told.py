"""What training says about itself: faults met, lines to copy, the card of its model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from redraft.app.show import say
from redraft.data import Folder, Store, embedded_names
from redraft.data.check import FEW
from redraft.methods import METHODS
from redraft.recipes import Run
from redraft.recipes.matrix import why_not

RESIDUAL = "residual_norm"  # in a bundle of a fusion: E|v|²/d of held-out pictures
BY_HEART = 2.0  # of that; beyond it likelihoods are those of training pictures alone


def next_lines(folder: Folder, run: Run, out: Path, direction: str | None) -> list[str]:
    """What to do with the model: two lines to copy."""
    given = ""
    if run.task_name == "category":
        given = shlex.quote(folder.categories[0]) + " "
    elif run.task_name == "text":
        told = next((e.caption for e in folder.examples["test"] if e.caption), folder.categories[:1])
        given = shlex.quote(told if isinstance(told, str) else told[0]) + " "
    elif run.task.spec.condition == "picture":
        made = run.task_name in ("recover", "upscale", "colour")  # of the wanted picture
        example = ((not made and folder.given) or folder.examples)["test"][0]
        source = (not made and example.condition) or example.target
        file = "PICTURE" if source.part else shlex.quote(str(source.path))  # a part of a file
        given = f"{file} "
    data = folder.root.name if folder.root.name in embedded_names() else str(folder.root)
    run_, nets = shlex.quote(str(out)), run.networks
    noise = {"modern": nets.noise, "pix2pix": nets.dropout, "cut": False}.get(nets.initializer, True)
    noise = noise and not (run.method_name == "fusion" and not run.task.spec.paired)
    one = run.task.spec.condition == "picture" and not nets.style and not noise  # variants would be alike
    way = f" --direction {shlex.quote(direction)}" if direction else ""
    many = "" if one else "--variants 4 "
    if run.method_name == "autoencoder":
        expert = shlex.quote(f"image:{out}")
        return [
            f"Next: redraft evaluate {run_} {shlex.quote(data)}",
            f"      redraft fuse {shlex.quote(data)} --to {expert}",
        ]
    return [
        f"Next: redraft generate {run_} {given}{many}--out {shlex.quote(f'{out}/pictures')}",
        f"      redraft evaluate {run_} {shlex.quote(data)}{way}",
    ]


def tell_skipped(*stores: Store) -> None:
    skipped = [sentence for store in stores for sentence in store.skipped]
    for sentence in skipped[:5]:
        say(f"Left out: {sentence}")
    if len(skipped) > 5:
        say(f"... and {len(skipped) - 5} more; see: redraft data check")


def tell_few(run: Run, pictures: int) -> None:
    """What there is against learning few pictures by heart, where the method has it and it is off."""
    off = getattr(run.method, "diff_augment", None) is False and not getattr(run.method, "ada", False)
    if pictures < FEW and off and not run.target.latent:
        say("Against learning few pictures by heart there is --set method.diff_augment=true.")


def tell_captions(folder: Folder, task: str | None, method: str | None) -> None:
    """Captions are not used unasked but by a fusion: say so where that may not be what is meant."""
    able = method is None or (method in METHODS and method != "fusion" and why_not(method, "text") is None)
    if folder.has_captions and task is None and able:
        say("The pictures have captions, which are not used unless you say --task text.")


def why_unscored(run: Run, about: Mapping[str, object]) -> str | None:
    """Why energies of what a model makes do not compare with those of real pictures; None where they do."""
    if run.method_name == "autoencoder":
        return "What an autoencoder makes of noise has no score: it gives pictures back, and makes none."
    norm = about.get(RESIDUAL, 1.0)
    if isinstance(norm, float) and norm > BY_HEART:
        return (
            f"No score is told: the flow has learnt its pictures by heart (E|v|²/d is {norm:.3g} on held-out "
            "ones, 1 wanted), so likelihoods of others mean little. A flow that has one: --set "
            "method.hold_back=10 in training, or more pictures."
        )
    return None


def card(run: Run, about: Mapping[str, object]) -> str:
    """The model's README: what it is, how it was made, how to use it."""
    return (
        f"# Redraft model: {run.task_name}\n\n"
        f"Method {run.label}, recipe {run.recipe}, {run.task.spec.size} px, trained "
        f"{about['steps']} steps ({about['seconds']} s) on {about['pictures']} pictures. {about['data']}\n\n"
        "```\nredraft generate THIS_FOLDER [CONDITION ...] --out NEW_FOLDER\n```\n"
        "```python\nimport redraft\nmodel = redraft.Model.from_pretrained('THIS_FOLDER')\n"
        "made = model(..., variants=4, seed=0)\n"
        "made.images, made.drafts, made.percentiles\n```\n\n"
        "The pictures that it was trained on may have terms of their own; they hold for what it makes.\n"
    )
