"""A trained model: guess now, refine on demand, with a score for every picture."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from redraft.app.bridges import Viewed, experts_into
from redraft.app.bridges import bridge as bridge_of
from redraft.app.drafting import LEVEL, Drafted, refuse_drafter, refuse_level, refuse_no_denoiser
from redraft.app.made import Made, best, join, together
from redraft.app.story import about_condition, about_versions, plain
from redraft.core import images
from redraft.core.errors import BundleError, UsageError
from redraft.core.rng import PictureNoise
from redraft.data import read_picture
from redraft.evaluation.calibration import Calibration
from redraft.hub import bundle
from redraft.methods.fusion import Fusion
from redraft.methods.method import Sample
from redraft.recipes.run import Built, Run, build
from redraft.spaces.bridge import Bridge
from redraft.spaces.pixels import Pixels

if TYPE_CHECKING:
    import PIL.Image

Condition: TypeAlias = "str | Path | np.ndarray | PIL.Image.Image"
CHUNK = 16  # pictures made together; recorded with each picture, so that a replay is exact


class Model:
    """A method with its task, ready to make pictures."""

    def __init__(
        self,
        run: Run,
        method: Built,
        calibration: Calibration,
        *,
        bridge: Bridge | None = None,
        hash: str = "",
        about: dict[str, Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.run, self.method, self.calibration = run, method.to(device).eval(), calibration
        self.hash, self.about, self.device = hash, about or {}, torch.device(device)
        self.bridge = bridge or bridge_of(run, device)
        self.viewed: Viewed | Drafted = Viewed(self.method, self.bridge, run.task.keep)
        self.place = ""  # the folder that holds it

    def __repr__(self) -> str:
        run = self.run
        return f"Model({run.task_name}, {run.method_name}, {run.task.spec.size} px, {self.device})"

    @property
    def task(self) -> Any:
        return self.run.task

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "auto") -> Model:
        """Open a bundle (or a run folder that holds one). BundleError says what is wrong with it."""
        from redraft.training import pick_device

        place = Path(folder)
        if (place / "model").is_dir():
            place = place / "model"
        stored = bundle.load(place)
        try:
            run = Run.from_dict(stored.config["run"])
        except (KeyError, TypeError, UsageError) as wrong:
            raise BundleError(f"The settings in {place}/config.json cannot be used: {wrong}") from None
        method = build(run)
        empty = Calibration.of(torch.zeros(0), None, None)
        wanted = {k: v.shape for k, v in method.state_dict(prefix="method.").items()}
        # how many real pairs a calibration remembers is its own business
        wanted |= {k: stored.tensors.get(k, v).shape for k, v in _dotted(empty).items()}
        between = bridge_of(run, place=place)
        if not between.open:
            wanted |= {f"bridge.{k}": v.shape for k, v in between.scales().items()}
        bundle.match(stored.tensors, wanted)
        method.load_state_dict(bundle.part(stored.tensors, "method"))
        calibration = Calibration.read(bundle.part(stored.tensors, "calibration"))
        between.rescale(bundle.part(stored.tensors, "bridge"))
        where, about = pick_device(device), stored.config.get("about", {})
        between = between.to(where)
        model = cls(run, method, calibration, bridge=between, hash=stored.hash, about=about, device=where)
        model.place = str(place.resolve())
        return model

    def save_pretrained(self, folder: str | Path, card: str = "", *, replace: bool = False) -> None:
        """Write a bundle into ``folder``; one that is there already is kept unless ``replace``."""
        tensors = self.method.state_dict(prefix="method.") | _dotted(self.calibration)
        if not self.bridge.open:
            tensors |= {f"bridge.{k}": v for k, v in self.bridge.scales().items()}
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        config = {"run": self.run.to_dict(), "about": self.about}
        with experts_into(self.bridge, Path(folder)):
            self.hash = bundle.save(folder, config, tensors, card, replace=replace)
        self.place = str(Path(folder).resolve())

    def __call__(
        self,
        condition: Condition | Sequence[Condition] | Tensor | None = None,
        *,
        variants: int = 1,
        refine: int | None = None,
        seed: int = 0,
        best_of: int | None = None,
        trace: bool = False,
    ) -> Made:
        """Pictures for one or several conditions, ``variants`` of each, in that order.

        ``condition``: words, picture files, Pillow pictures or arrays [H, W(, C)] of uint8 or uint16 (as
        the task reads them), or an encoded tensor [N, ...]. ``refine``: Langevin steps K; None the
        method's own (cooperative: as in training; adversarial: 0), 0 the drafts. ``best_of``: make so many
        of each and return the ``variants`` with the lowest energies. ``trace``: also what was on the way;
        nothing where another model drafts. Each condition's pictures are made apart, whatever else was
        asked for.
        """
        tried = variants if best_of is None else best_of
        refuse_counts(variants, best_of, refine)
        given = _listed(condition)
        c = self.read(condition, seed)
        parts = []
        for i in range(1 if c is None else len(c)):
            row = None if c is None else c[i : i + 1].expand(tried, *c.shape[1:])
            part = self.make(row, list(range(tried)), refine=refine, seed=seed, trace=trace)
            part = part if best_of is None else best(part, variants)
            about = {} if given is None else about_condition(given[i])
            parts.append(replace(part, stories=self._stories(part, seed, refine, about)))
        return together(parts)

    def like(
        self,
        condition: Condition | None,
        exemplar: str | Path,
        of: Condition | None = None,
        *,
        strength: float = 1.0,
        seed: int = 0,
    ) -> Made:
        """What ``condition`` says in the manner of a picture: its residual under its own condition ``of``.

        One picture, by a fusion alone. Without ``of`` the category under which the exemplar is likeliest.
        ``strength`` 0 gives the exemplar back as the target's expert sees it (or as its principal components
        have it, where those are made), 1 the new condition's picture.
        """
        method = self.method
        if isinstance(method, Fusion) and method.domains:
            raise UsageError(
                "This fusion turns pictures of one kind into such of the other with their residual kept: "
                "leave --like out (trained with --task category, two kinds have --like and --strength)."
            )
        if not isinstance(method, Fusion):
            raise UsageError(
                "Only a fusion can carry a picture's residual over to another condition: train one with "
                "redraft fuse DATA --from EXPERT --to EXPERT."
            )
        pixels = Pixels(size=self.task.spec.size, channels=self.task.spec.channels)
        x = pixels.encode(read_picture(str(exemplar), size=pixels.size)[0]).to(self.device)
        wanted, raw = self.bridge.wanted(x), self._one(condition, seed)
        own = self._likeliest(wanted) if of is None else self._one(of, seed)
        c_from, c_to = (None if c is None else self.bridge.given(c) for c in (own, raw))
        made = method.exchange(wanted, c_from, c_to, strength)
        with torch.no_grad():
            pictures = self.task.keep(self.bridge.view(made), raw).cpu()
        energies = method.energy(made, c_to).cpu()
        about = {f"like{k.removeprefix('condition')}": v for k, v in about_condition(exemplar).items()}
        about |= {f"like_is{k.removeprefix('condition')}": v for k, v in about_condition(of).items()}
        made_alone = replace(self._scored(pictures, energies), chunks=[[0]], places=[0])
        about |= {"strength": f"{strength:g}", **about_condition(condition)}
        return replace(made_alone, stories=self._stories(made_alone, seed, 0, about))

    def temper(self, temperature: float) -> None:
        """From now on a fusion draws its residual with this standard deviation: below 1 calmer pictures."""
        if not isinstance(self.method, Fusion) or self.method.domains:
            raise UsageError("--temperature is of a fusion's noise; this model has none: leave it out.")
        if not 0 <= temperature <= 2:
            raise UsageError(f"--temperature lies between 0 and 2, not {temperature}.")
        self.method.cfg = replace(self.method.cfg, temperature=temperature)

    def draft_by(self, other: Model | str | Path, level: float = LEVEL) -> Drafted:
        """From now on pictures begin at another model's, noised to ``level`` in (0, 1]: piti and diffusion.

        ``other``: of any method, with the same task and size, or the folder of one. Drafts are its pictures
        as it makes them by default, of the same seed and variant.
        """
        refuse_level(str(other), level)
        refuse_no_denoiser(self.run)
        if not isinstance(other, Model):
            other = Model.from_pretrained(other, str(self.device))
        refuse_drafter(self.run, other.run, other.place or "The other model")
        self.viewed = drafted = Drafted(
            own=Viewed(self.method, self.bridge, self.task.keep),
            by=Viewed(other.method, other.bridge, other.task.keep),
            level=level,
            story={
                "drafts": plain(other.place),
                "drafts_hash": other.hash,
                "drafts_method": other.run.label,
                "level": str(level),
            },
        )
        return drafted

    def _one(self, condition: Condition | None, seed: int) -> Tensor | None:
        c = self.read(condition, seed)
        return None if c is None else c.to(self.device)

    def _likeliest(self, x: Tensor) -> Tensor | None:
        """The category [1] under which a latent is likeliest."""
        kind, n = self.task.spec.condition, self.task.spec.width
        if kind == "none":
            return None
        if kind != "category":
            raise UsageError(f"Say what the exemplar shows, with --like-is: {_A[kind]}.")
        categories = torch.arange(n, device=self.device)
        energies = self.method.energy(x.expand(n, *x.shape[1:]), categories)
        return categories[energies.argmin()][None]

    def _scored(self, pictures: Tensor, energies: Tensor) -> Made:
        n = len(pictures)
        return Made(
            images=pictures,
            drafts=pictures,
            energies=energies,
            draft_energies=energies,
            percentiles=100 * self.calibration.better_than(energies),
            novelty=None,
            variants=[0] * n,
        )

    def read(self, condition: Condition | Sequence[Condition] | Tensor | None, seed: int) -> Tensor | None:
        """Conditions as users give them -> the tensor that networks take, or None."""
        kind = self.task.spec.condition
        given = _listed(condition)
        if isinstance(condition, Tensor):
            c: Tensor | None = condition
        elif given is None:
            c = None
        else:
            c = torch.cat([self._read(one, seed) for one in given])
        if c is None and kind != "none":
            raise UsageError(f"This model needs {_A[kind]} to start from; name one after the model.")
        if c is not None and kind == "none":
            raise UsageError("This model makes pictures from nothing; leave the condition out.")
        return c

    def _read(self, one: Condition, seed: int) -> Tensor:
        """One condition [1, ...]; what is in memory goes the way of a file, so that it is read alike."""
        noise = PictureNoise(seed, [0])
        if isinstance(one, (str, Path)):
            return self.task.read(str(one), noise)
        if self.task.spec.condition in ("category", "sentence"):
            raise UsageError(f"This model needs {_A[self.task.spec.condition]}, so give words.")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "condition.png"
            if isinstance(one, np.ndarray) and one.dtype == np.uint16:
                images.write(images.to_tensor(one if one.ndim == 3 else one[..., None]), file, bits=16)
            elif isinstance(one, np.ndarray):
                _picture_of(one).save(file)
            else:
                one.save(file)
            return self.task.read(str(file), noise)

    def _stories(
        self, made: Made, seed: int, refine: int | None, about: dict[str, str]
    ) -> list[dict[str, str]]:
        steps = self.viewed.refine_steps if refine is None else refine
        general = about_versions() | {
            "model": plain(self.place),
            "model_hash": self.hash,
            "method": self.run.method_name,
            "task": self.run.task_name,
            "seed": str(seed),
            "steps": str(steps),
        }
        if isinstance(self.method, Fusion) and not self.method.domains:
            general["temperature"] = f"{self.method.cfg.temperature:g}"
        if isinstance(self.viewed, Drafted):
            general |= self.viewed.story
        told = []
        for i, variant in enumerate(made.variants):
            own = {
                "variant": str(variant),
                "together": " ".join(map(str, made.chunks[i])),
                "place": str(made.places[i]),
                "energy": f"{made.energies[i]:.6g}",
                "draft_energy": f"{made.draft_energies[i]:.6g}",
                "percentile": f"{made.percentiles[i]:.1f}",
            }
            novelty = {} if made.novelty is None else {"novelty": f"{made.novelty[i]:.1f}"}
            told.append(general | own | novelty | about)
        return told

    def make(
        self,
        c: Tensor | None,
        variants: list[int],
        *,
        refine: int | None = None,
        seed: int = 0,
        trace: bool = False,
        chunk: int = CHUNK,
    ) -> Made:
        """One picture for each row of c; picture i has the noise of variant ``variants[i]``."""
        parts: list[Sample] = []
        chunks: list[list[int]] = []
        places: list[int] = []
        for start in range(0, len(variants), chunk):
            some = variants[start : start + chunk]
            rows = None if c is None else c[start : start + chunk].to(self.device)
            noise = PictureNoise(seed, some, self.device)
            parts.append(self.viewed.generate(rows, len(some), noise, refine=refine, trace=trace))
            chunks += [some] * len(some)
            places += range(len(some))
        whole = join(parts)
        novelty = self.calibration.novelty(c)
        return Made(
            images=whole.images.clamp(-1, 1),
            drafts=whole.drafts.clamp(-1, 1),
            energies=whole.energies,
            draft_energies=whole.draft_energies,
            percentiles=100 * self.calibration.better_than(whole.energies),
            novelty=None if novelty is None else 100 * novelty,
            variants=variants,
            trace=whole.trace,
            trace_energies=whole.trace_energies,
            chunks=chunks,
            places=places,
        )


def _dotted(calibration: Calibration) -> dict[str, Tensor]:
    return {f"calibration.{k}": v for k, v in calibration.tensors().items()}


_A = {"category": "a category", "picture": "a picture", "sentence": "a sentence"}


def refuse_counts(variants: int, best_of: int | None, refine: int | None) -> None:
    """Refuse numbers of pictures or steps that mean nothing."""
    if variants < 1 or (best_of is not None and best_of < variants):
        more = "" if best_of is None else f"--best-of {best_of} must be at least --variants {variants}, "
        raise UsageError(
            more + ("itself at least 1." if more else f"--variants is at least 1, not {variants}.")
        )
    if refine is not None and refine < 0:
        raise UsageError(f"--refine takes a number of steps, 0 or more, not {refine}.")


def _listed(condition: Condition | Sequence[Condition] | Tensor | None) -> list[Any] | None:
    """Conditions one by one; None where there is none."""
    if condition is None:
        return None
    return list(condition) if isinstance(condition, (list, tuple, Tensor)) else [condition]


def _picture_of(array: np.ndarray) -> PIL.Image.Image:
    from PIL import Image

    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise UsageError(
            f"A condition's array is [H, W] or [H, W, C] of uint8 or uint16, not {array.dtype} {array.shape}."
        )
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array)
