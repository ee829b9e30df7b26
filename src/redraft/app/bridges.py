"""The bridge of a run: its experts found by name, and a method seen through them."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from redraft.app import drawn, experts
from redraft.app.show import one_first
from redraft.core.config import override
from redraft.core.errors import BundleError, UsageError
from redraft.core.images import saving
from redraft.core.rng import Noise
from redraft.methods.method import Keep, Method, Sample
from redraft.nets.experts import Expert, names
from redraft.recipes.ends import Condition, Ends, Target
from redraft.recipes.run import Run
from redraft.spaces.bridge import Bridge
from redraft.tasks import Task

COPIES = "experts"  # folder of a bundle, or of a run, that holds copies of its experts
SCALES = "bridge.safetensors"  # in a run's folder: what its bridge was fitted to
TEXT, LATENT = "text:minilm", "image:taef2"  # where a sentence, or a fusion, names no expert


def is_end(assignment: str) -> bool:
    """Whether a ``--set`` line names an expert: those are found before a recipe chooses the rest."""
    return assignment.partition(".")[0].strip() in ("condition", "target")


def ends(task: Task, method: str, assignments: Iterable[str], begun: Path | None = None) -> Ends:
    """The experts that ``--set`` lines name, and those that task and method cannot do without, found.

    ``begun`` is the folder of a run that is gone on with: it may hold copies of them.
    """
    lines = [line.partition(".") for line in assignments if is_end(line)]
    condition = override(Condition(), [rest for side, _, rest in lines if side == "condition"], "condition.")
    target = override(Target(), [rest for side, _, rest in lines if side == "target"], "target.")
    spec = task.spec
    if spec.condition == "sentence" and not condition.expert:
        condition = replace(condition, expert=TEXT)
    if method == "fusion" and not target.latent:
        target = replace(target, latent=LATENT)
    if method == "autoencoder" and target.latent:
        raise UsageError(
            "An autoencoder makes a latent space of its own, from pixels: leave target.latent out."
        )
    if target.latent:
        made = _decoder(target.latent, begun)
        if made.kind == "generator" and target.components:
            raise UsageError(
                f"target.components is for an autoencoder; {made.name} draws its pictures of numbers that "
                "are independent of each other: leave it out."
            )
        target = replace(
            target,
            latent=made.name,
            shape=made.shape(spec.size),
            fingerprint=made.fingerprint,
            draws=drawn.number(made, task, target.draws),
        )
    elif target.draws or target.components:
        raise UsageError(
            "target.draws and target.components are for an expert as target.latent; leave them out."
        )
    if not spec.paired:
        condition = _both_sides(condition, target)
    if condition.expert:
        seen = _reader(condition.expert, spec.condition, begun)
        condition = Condition(expert=seen.name, shape=seen.shape(spec.size), fingerprint=seen.fingerprint)
    return Ends(condition=condition, target=target)


def _both_sides(condition: Condition, target: Target) -> Condition:
    """Of sides without pairs both are pictures of one space, so one expert sees both."""
    if condition.expert.removeprefix("image:") not in ("", target.latent.removeprefix("image:")):
        raise UsageError(
            f"condition.expert={condition.expert} cannot see one side alone: where sides have no pairs, the "
            "target's expert sees both; leave --from or condition.expert out."
        )
    return replace(condition, expert=target.latent)


def _reader(name: str, given: str, begun: Path | None) -> Expert:
    """The expert for what is given; UsageError where it reads something else."""
    if given not in ("sentence", "picture"):
        raise UsageError(
            f"condition.expert={name} has nothing to read: this task starts from "
            f"{'a category' if given == 'category' else 'nothing'}; leave it out."
        )
    kind = "text" if given == "sentence" else "image"
    found = _gone_on_with(name if ":" in name else f"{kind}:{name}", "condition", begun)
    fits = ("text",) if given == "sentence" else ("image", "autoencoder")
    if found.kind not in fits:
        raise UsageError(
            f"condition.expert={name} is an expert of kind {found.kind}, and this task starts from a "
            f"{given}; name one of kind {' or '.join(fits)} (redraft experts lists them)."
        )
    return found


def _decoder(name: str, begun: Path | None) -> Expert:
    found = _gone_on_with(name if ":" in name else f"image:{name}", "target", begun)
    if found.kind not in ("autoencoder", "generator"):
        raise UsageError(
            f"target.latent={name} is an expert of kind {found.kind}, which cannot make pictures; name an "
            "autoencoder or a generator (redraft experts lists them), such as image:taef2."
        )
    return found


def _gone_on_with(name: str, side: str, begun: Path | None) -> Expert:
    """The expert, or the copy that the run in ``begun`` keeps of it."""
    if begun is None:
        return experts.load(name)
    try:
        return _load(name, begun / COPIES / side)
    except UsageError:
        if name in names():  # the error says how to get it
            raise
        raise UsageError(
            f"The run in {begun} was begun with {name}, which is not here any more, and keeps no copy of it "
            f"in {begun / COPIES}: put it back, or start a new run."
        ) from None


def _load(name: str, copy: Path | None) -> Expert:
    """The copy of an expert that is a model of redraft, where there is one; else the expert itself."""
    if copy is None or not copy.is_dir():
        return experts.load(name)
    found = experts.load(f"{name.partition(':')[0]}:{copy}")
    found.name = name
    return found


def bridge(run: Run, device: torch.device | str = "cpu", place: Path | None = None) -> Bridge:
    """The bridge of a run with its experts, its scales not yet fitted.

    ``place`` is a bundle that may hold copies of them. BundleError where an expert is not what it was.
    """
    condition = _found("condition", run.condition.expert, run.condition, run, place)
    target = _found("target", run.target.latent, run.target, run, place)
    made = Bridge(
        run.task.spec,
        run.task.show,
        condition=condition,
        target=target,
        components=run.target.components or 0,
    )
    return made.to(device)


def _found(side: str, name: str, known: Condition | Target, run: Run, place: Path | None) -> Expert | None:
    if not name:
        return None
    expert = _load(name, None if place is None else place / COPIES / side)
    shape = expert.shape(run.task.spec.size)
    if (expert.fingerprint, shape) != (known.fingerprint, known.shape):
        raise BundleError(
            f"{name} is not the expert that this model was trained with: it makes {shape} where "
            f"{known.shape} were learnt, or has other weights; put the earlier one back."
        )
    return expert


@contextmanager
def experts_into(bridge: Bridge, folder: Path) -> Iterator[None]:
    """The bundle that is written inside gets copies of experts that are redraft's, so it needs nothing else.

    They are taken before: one may lie in the bundle that is replaced.
    """
    with tempfile.TemporaryDirectory() as aside:
        _copy_experts(bridge, Path(aside))
        yield
        if (Path(aside) / COPIES).is_dir():
            shutil.copytree(Path(aside) / COPIES, folder / COPIES, dirs_exist_ok=True)


def _copy_experts(bridge: Bridge, folder: Path) -> None:
    for side, expert in (("condition", bridge.condition), ("target", bridge.target)):
        source, copy = getattr(expert, "folder", None), folder / COPIES / side
        if source is None or source.resolve() == copy.resolve():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        half_made = copy.with_name(f".{side}.{secrets.token_hex(4)}")
        try:
            with saving(copy):
                shutil.copytree(source, half_made)
                shutil.rmtree(copy, ignore_errors=True)  # of another run that came to nothing
                os.replace(half_made, copy)
        finally:
            shutil.rmtree(half_made, ignore_errors=True)


def kept_scales(out: Path) -> dict[str, Tensor] | None:
    """What ``keep`` wrote into a run's folder; None where it did not get there."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load((out / SCALES).read_bytes())
    except OSError:
        return None
    except SafetensorError:
        raise BundleError(f"{out / SCALES} is damaged: start the run anew in another folder.") from None


def keep(bridge: Bridge, out: Path) -> None:
    """Write all that a run needs of a bridge into its folder: it is gone on with as it was begun.

    Its scales, and copies of experts that are models of redraft.
    """
    if not bridge.open:
        one_first(lambda: _write(bridge, out))


def _write(bridge: Bridge, out: Path) -> None:
    from safetensors.torch import save

    out.mkdir(parents=True, exist_ok=True)
    _copy_experts(bridge, out)
    half_made = out / f".{SCALES}.{secrets.token_hex(4)}"
    try:
        with saving(out / SCALES):
            half_made.write_bytes(save({k: t.cpu().contiguous() for k, t in bridge.scales().items()}))
            os.replace(half_made, out / SCALES)
    finally:
        half_made.unlink(missing_ok=True)


class Viewed:
    """A method as people see it: raw conditions go in, pictures come out."""

    def __init__(self, method: Method, bridge: Bridge, keep: Keep) -> None:
        self.method, self.bridge, self.keep = method, bridge, keep

    @property
    def refine_steps(self) -> int:
        """K when nobody asks for a number."""
        return self.method.refine_steps

    def generate(
        self, c: Tensor | None, n: int, rng: Noise, *, refine: int | None = None, trace: bool = False
    ) -> Sample:
        made = self.method.generate(self.bridge.given(c), n, rng, refine=refine, trace=trace)
        if self.bridge.open:
            return made
        drafts = self.view(made.drafts, c)
        refined = drafts if made.images is made.drafts else self.view(made.images, c)
        return made._replace(drafts=drafts, images=refined, trace=[self.view(t, c) for t in made.trace])

    def view(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Pictures of what networks have made, with what raw conditions fix put back."""
        with torch.no_grad():
            return self.keep(self.bridge.view(z), c)

    def energy(self, x: Tensor, c: Tensor | None) -> Tensor:
        """E [N] of pictures x under raw conditions c."""
        return self.method.energy(self.bridge.wanted(x), self.bridge.given(c))
