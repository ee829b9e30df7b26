"""Looks after a run: sees what goes wrong, says it in a sentence, decides what to lower.

Everything it knows comes from the rows of the journal and from a few drafts now and then, so that it
decides alike in every process and after every resume; its state travels with the checkpoint.

    a batch with values that are no numbers     left out
    a loss, gradient or energy that is none     go back, lower the learning rate
    an energy or a loss that runs away          go back, lower the learning rate
    pictures stuck at the ends of the range     go back, lower the learning rate
    a chain that suddenly stands still          go back, lower the learning rate
    a chain that has come to stand still        told
    a chain that moves by its clip alone        told
    drafts that do not depend on z              told
    drafts that have come to be all alike       told
    a discriminator that has won                told

What a contest does is told and not undone: it may be right with few pictures, often mends itself, and where
it does not, another setting helps and no smaller rate; going back would only lead there again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from redraft.core.errors import DataError, Diverged
from redraft.training.drafts import Drafts

TRIES = 6  # times it goes back before it gives up
BATCHES = 20  # batches it leaves out before it gives up
SURGE = {"energy": 10.0, "loss": 30.0}  # times its own mean of the last ~100 steps
SETTLED = 100  # steps of the start, in which the teaching loss of a sound run grows a thousandfold
STEEP = 5.0  # mean drift of a chain, in units of its clip; sound ones have about 1
STILL = 1e-3  # a move of the chain (rms, pictures in [-1, 1]) below this is none
CALM = 2000  # steps without a fault that make up for one
PATIENCE = 50  # steps in which a chain must misbehave
WON = 0.995  # of real pictures told from made ones over ~100 steps; sound runs of few pictures have 0.98
ALIKE = 0.1  # variety of drafts below which they are alike; sound ones have 0.4 to 1.1
FALLEN = 0.25  # of the greatest variety so far: so too below this share of it


class Fault(NamedTuple):
    """Something that must be undone, and the network whose learning rate is to blame (None: all)."""

    sentence: str
    network: str | None


class Watchdog:
    def __init__(
        self,
        networks: list[str],
        energy_limit: float | None,
        drift_clip: float | None = None,
        settings: Any = None,  # of the method: which remedies it has
    ) -> None:
        self.networks, self.limit, self.clip, self.settings = networks, energy_limit, drift_clip, settings
        self.scale: dict[str, float] = {}  # what the learning rates were lowered to
        self.left_out: list[int] = []  # steps whose batches are left out
        self.tries = 0  # times it went back; forgotten one by one in CALM steps without a fault
        self.calm = 0
        self.last_try = -1  # the step that it last went back to
        self.means: dict[str, float] = {}
        self.seen = 0
        self.runs: dict[str, int] = {}  # steps (for drafts: looks) in a row in which something looked wrong
        self.variety = 0.0  # of the drafts, the greatest so far
        self.told: list[str] = []

    def new_stage(self) -> None:
        """What was usual in an earlier stage of the training is no measure of the new one."""
        self.means, self.seen, self.runs = {}, 0, {}

    # --- seeing

    def read(self, row: Mapping[str, float | None]) -> Fault | None:
        """The values of one step; returns the first fault."""
        values = {k: v for k, v in row.items() if v is not None}
        fault = self._finite(values) or (self._surge(values) or self._stuck(values) if self.limit else None)
        self.seen, self.calm = self.seen + 1, self.calm + 1
        if self.calm % CALM == 0:
            self.tries = max(0, self.tries - 1)
        for key, value in values.items():
            before = self.means.get(key, abs(value))
            self.means[key] = before + (abs(value) - before) / min(self.seen, 100)
        return fault

    def notes(self, row: Mapping[str, float | None]) -> list[str]:
        """What the user should hear of the values of one step, each once."""
        notes = []
        move = row.get("move")
        if move is not None and self._lasts("still", self._moves() and move < STILL):
            notes.append(
                f"The solver's chain has come to stand still (it moves a draft by {move:.1g}): the refined "
                "pictures are the drafts. Try a larger method.langevin.delta or train.lr.solver."
            )
        if self.clip and self.seen >= SETTLED and (drift := self.means.get("drift", 0.0)) > STEEP * self.clip:
            notes.append(
                f"The solver's chain moves by its clip alone (drift {drift:.2g}, clip {self.clip}): its "
                "energies are too steep for its step. Try a smaller method.langevin.delta or train.lr.solver."
            )
        if self._won():
            notes.append(
                "The discriminator has won: over the last hundred steps it told "
                f"{self.means['told_apart']:.1%} of real pictures from made ones, so it has little left to "
                "teach the generator. With few pictures that may be so in a sound run; else try "
                f"{_either(*self._weaker())}."
            )
        return [n for n in notes if self._first(n[:40])]

    def look(self, drafts: Drafts, step: int) -> tuple[Fault | None, list[str]]:
        """What a few drafts tell."""
        initializer, solver = self._blame("initializer"), self._blame("solver")
        for who, ends, net in (
            ("drafts", drafts.draft_ends, initializer),
            ("refined pictures", drafts.refined_ends, solver),
        ):
            if self.limit and ends > 0.9 and ends > drafts.real_ends + 0.3:
                share = f"{ends:.0%} of their pixels against {drafts.real_ends:.0%} of the real ones"
                return Fault(f"the {who} are stuck at black and white ({share})", net), []
        self.variety = max(self.variety, drafts.variety)
        alike = step >= 200 and drafts.variety < max(ALIKE, FALLEN * min(1.0, self.variety))
        if self._lasts("alike", alike, steps=2) and self._first("alike"):
            return None, [self._collapsed(drafts.variety)]
        if step >= 200 and not alike and drafts.spread is not None and drafts.spread < 0.01:
            return None, [self._ignored(drafts.spread)] if self._first("z") else []
        return None, []

    # --- advising, with settings that the method has

    def _collapsed(self, variety: float) -> str:
        fell = f" (it was {self.variety:.0%})" if self.variety > 2 * ALIKE else ""
        return (
            f"The initializer's pictures have come to be all alike: two of them differ by {variety:.1%} of "
            f"what real ones do{fell}. Try {_either(*self._weaker(), 'a smaller train.lr.initializer')}."
        )

    def _ignored(self, spread: float) -> str:
        known = {
            "latent": "method.latent.steps=5 (latent inference)",
            "truth_l1": "less of method.truth_l1",
            "l1": "networks.style=8 (noise that sets colour and light)",
        }
        remedies = [words for setting, words in known.items() if hasattr(self.settings, setting)]
        return (
            f"The initializer ignores z: two drafts of one condition differ by {spread:.2%} of what real "
            "pictures do, so all variants will look alike."
            + (f" Try {_either(*remedies)}." if remedies else "")
        )

    def _weaker(self) -> list[str]:
        """What holds a solver or discriminator back."""
        words = ["a smaller train.lr.solver"]
        if getattr(self.settings, "diff_augment", True) is False:
            words.insert(0, "method.diff_augment=true")
        if hasattr(self.settings, "r1"):
            words.insert(0, f"a larger method.r1 (now {self.settings.r1:g})")
        return words

    # --- acting

    def leave_out(self, step: int) -> str:
        """Decide to train without the batch of ``step``; DataError when there are too many of them."""
        self.left_out.append(step)
        if len(self.left_out) > BATCHES:
            raise DataError(
                f"{len(self.left_out)} batches held values that are not finite numbers (the last at step "
                f"{step + 1}); look for the damaged pictures with: redraft data check."
            )
        return f"The batch of step {step + 1} holds values that are not finite numbers; it is left out."

    def act(self, fault: Fault, step: int, back_to: int) -> str:
        """Lower the blamed learning rate, or raise Diverged when that was done often enough.

        By two; by ten where that did not help, or where the start already failed: then not the moment is
        wrong but the setting.
        """
        self.tries, self.calm = self.tries + 1, 0
        names = [fault.network] if fault.network else self.networks
        if self.tries > TRIES:
            rates = ", ".join(f"train.lr.{n}" for n in names)
            chain = " or a smaller method.langevin.delta" * hasattr(self.settings, "langevin")
            raise Diverged(
                f"Training failed {self.tries} times, the last at step {step}: {fault.sentence}. Lower "
                f"{rates} by ten, or set train.clip (1.0){chain}; the last sound state is saved."
            )
        by = 0.1 if back_to <= self.last_try or step < SETTLED else 0.5
        self.last_try = max(back_to, self.last_try)
        for name in names:
            self.scale[name] = self.scale.get(name, 1.0) * by
        lowered = " and ".join(f"{n} to {self.scale[n]:.3g} of its setting" for n in names)
        return (
            f"At step {step} {fault.sentence}: went back to step {back_to} and lowered "
            f"the learning rate of {lowered}."
        )

    # --- remembering

    def state(self) -> dict[str, Any]:
        seen = {"means": self.means, "seen": self.seen, "runs": self.runs, "variety": self.variety}
        acts = {
            "scale": self.scale,
            "left_out": self.left_out,
            "tries": self.tries,
            "calm": self.calm,
            "last_try": self.last_try,
            "told": self.told,
        }
        return {"seen": seen, "acts": acts}

    def load(self, state: dict[str, Any], *, acts: bool = True) -> None:
        """Restore; without ``acts`` only what was seen, as when the run goes back."""
        seen = state["seen"]
        self.means, self.runs, self.seen = dict(seen["means"]), dict(seen["runs"]), seen["seen"]
        self.variety = seen["variety"]
        if acts:
            did = state["acts"]
            self.scale, self.left_out, self.told = (
                dict(did["scale"]),
                list(did["left_out"]),
                list(did["told"]),
            )
            self.tries, self.calm, self.last_try = did["tries"], did["calm"], did["last_try"]

    # --- rules

    def _finite(self, values: Mapping[str, float]) -> Fault | None:
        for key, value in values.items():
            if not math.isfinite(value):
                return Fault(f"{key} was not a finite number", self._owner(key))
        return None

    def _surge(self, values: Mapping[str, float]) -> Fault | None:
        assert self.limit is not None
        for key, value in values.items():
            kind = key.split("_")[0]
            if kind not in SURGE or self.seen < (SETTLED if kind == "loss" else 1):
                continue
            usual = self.means.get(key, abs(value))
            surge = abs(value) > self.limit and abs(value) > SURGE[kind] * usual
            if surge or (kind == "energy" and abs(value) > 10 * self.limit):
                return Fault(f"{key} ran away to {value:.3g} (usual: {usual:.2g})", self._owner(key))
        return None

    def _stuck(self, values: Mapping[str, float]) -> Fault | None:
        move = values.get("move")
        if move is None or not self._moves():
            return None
        stopped = move < STILL and move < 0.02 * self.means["move"]
        if self._lasts("stopped", stopped, steps=5):
            return Fault(
                f"the solver's chain stopped moving the drafts (by {move:.1g})", self._blame("solver")
            )
        return None

    def _won(self) -> bool:
        """Whether the discriminator tells all; a Wasserstein critic should, and still has a slope."""
        if self.seen < 2 * SETTLED or getattr(self.settings, "loss", None) == "wasserstein":
            return False
        return self.means.get("told_apart", 0.0) > WON

    def _moves(self) -> bool:
        """Whether the chain has ever moved: a method without refinement is no fault."""
        return self.means.get("move", 0.0) > 0

    def _lasts(self, what: str, now: bool, steps: int = PATIENCE) -> bool:
        self.runs[what] = self.runs.get(what, 0) + 1 if now else 0
        return self.runs[what] >= steps

    def _first(self, what: str) -> bool:
        if what in self.told:
            return False
        self.told.append(what)
        return True

    def _owner(self, key: str) -> str | None:
        for name in self.networks:
            if key.endswith(f"_{name}"):
                return name
        return self._blame("solver") if key.split("_")[0] in ("energy", "move", "drift") else None

    def _blame(self, name: str) -> str | None:
        return name if name in self.networks else None


def _either(*words: str) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
