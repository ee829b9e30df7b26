"""The only training loop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from redraft.core.config import to_dict
from redraft.core.errors import CheckpointError, Interrupted, UsageError
from redraft.core.types import Pair
from redraft.training import checkpoint, drafts, folder, processes, sharding
from redraft.training.ahead import Ahead
from redraft.training.best import Best, Measure
from redraft.training.compiling import Compiled
from redraft.training.device import pick_precision
from redraft.training.journal import Journal
from redraft.training.parts import finite, joined, learn
from redraft.training.precision import Half
from redraft.training.progress import Outcome, Progress
from redraft.training.schedule import Length, factor, shows_pictures
from redraft.training.settings import Train
from redraft.training.stops import Stop, stops
from redraft.training.update import NonFinite, Update
from redraft.training.watchdog import Fault, Watchdog

LOOK = 10  # on a GPU the host fetches the values of the steps this often
LOOKED = ("drafts_spread", "drafts_variety")  # columns of the steps at which drafts were looked at
Row = dict[str, float | None]


def is_lazy(device: torch.device) -> bool:
    """Whether to look at the values of several steps at once, so that the host does not wait for a GPU."""
    return device.type == "cuda"


def train(
    method: nn.Module,  # and a methods.Method
    batch_at: Callable[[int], Pair],
    cfg: Train,
    out: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    config: dict[str, Any] | None = None,
    draw: Callable[[nn.Module], Tensor] | None = None,
    measure: Measure | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Train ``method`` in place; afterwards its networks hold their moving averages, in eval mode.

    ``batch_at(t)`` is this process's share of the batch of step t (from 0), on the device of the
    networks; it must be a pure function of t, and is called one step ahead in another thread. Step t's
    noise is a function of (seed, t) alone, so a run that was killed and resumed ends bit for bit like
    one that was not (on one device; with the weights that the method had at the start).

    ``config`` is the resolved run, for run.yaml and for refusing to resume another run. ``draw`` makes
    the picture [3, H, W] in [-1, 1] that samples/ collects. With ``measure`` the method ends with the weights
    at which that was lowest, and training ends early where it has long been lower.

    Raises UsageError (settings, folder in use), CheckpointError (nothing to resume, another run),
    OutOfSpace, DataError (batches with NaN), Diverged, Interrupted (all is saved).
    """
    device = next(method.parameters()).device
    with processes.processes(device), stops() as stop:
        settings = config or {"seed": seed, "train": to_dict(cfg)}
        processes.share(method.state_dict().values())
        learner = sharding.shard(method) if cfg.shard and processes.world() > 1 else method
        run = _Run(learner, batch_at, cfg, Path(out), seed, settings, draw, measure, report, stop)
        try:
            run.begin(resume)
            outcome = run.go()
        finally:
            run.close()
        if learner is not method:
            method.load_state_dict(sharding.whole(learner.state_dict()))
            method.eval()
        return outcome


class _Run:
    """The state of a run and the verbs that change it."""

    def __init__(
        self,
        method: nn.Module,
        batch_at: Callable[[int], Pair],
        cfg: Train,
        out: Path,
        seed: int,
        config: dict[str, Any],
        draw: Callable[[nn.Module], Tensor] | None,
        measure: Measure | None,
        report: Callable[[Progress], None],
        stop: Stop,
    ) -> None:
        self.method, self.batch_at, self.cfg, self.out = method, batch_at, cfg, out
        self.seed, self.config, self.draw, self.report, self.stop = seed, config, draw, report, stop
        self.networks: dict[str, nn.Module] = method.networks  # type: ignore[assignment]
        self.device = next(method.parameters()).device
        self.first = processes.rank() == 0  # the process that writes
        self.length = Length.of(cfg)
        self.dtype = pick_precision(cfg.precision, self.device)
        self.lazy = is_lazy(self.device)
        self.update = Update(self.networks, cfg, self.dtype, raises=not self.lazy)
        asked = getattr(method, "cfg", None)
        chain = getattr(getattr(method, "first", asked), "langevin", None)  # coopinit has one of its own
        clip = getattr(chain, "drift_clip", None)
        self.watchdog = Watchdog(list(self.networks), cfg.energy_limit, clip, asked)
        self.half = Half(self.networks, self.dtype)
        self.compiled = Compiled(self.networks if cfg.compile else {})
        self.ahead = Ahead(batch_at, self.device)
        self.best = Best(measure, self.device)
        self.look_every = LOOK if self.lazy else 1
        self.keeper = checkpoint.Keeper(out / "checkpoints", self.device, cfg.keep, self._tell)
        self.journal = Journal(out, self.first)
        self.step, self.seconds = 0, 0.0
        self.stage: str = getattr(method, "stage", "")  # of the method's training, where it has stages
        self.batch: Pair | None = None  # of the last step
        self.waited, self.begun = 0.0, time.perf_counter()
        self.pending: list[tuple[dict[str, Tensor], Row]] = []  # steps that the host has not looked at
        self.stopping = False
        self.events: list[str] = []

    # --- beginning and ending

    def begin(self, resume: bool) -> None:
        going_on = resume and folder.resumable(self.out)
        if not going_on:
            folder.refuse_another(self.out)  # before anything is written, in all processes
        processes.barrier()
        state = self.keeper.newest() if going_on else None
        if state is not None:
            folder.refuse_other_settings(json.loads(state["config"]), self.config, self.out)
            self._restore(state)
            if self.length.total is not None and self.step > self.length.total:
                raise UsageError(
                    f"The run in {self.out} is already at step {self.step}, beyond {self.length.total} steps."
                )
        if self.first:
            folder.describe(self.out, self.config, self.device, str(self.dtype).removeprefix("torch."))
        if state is None:
            self.keeper.save(self._state())  # a disk that cannot hold a checkpoint is told now, not later
            if resume:
                self._tell("The run had stopped before its first checkpoint; it begins anew.")
        else:
            self._tell(f"Goes on at step {self.step}.")
        self.before = self.seconds  # of earlier sittings
        self.begun = time.perf_counter() - self.seconds

    def go(self) -> Outcome:
        while not self._over():
            if self.stopping:
                self._stop()
            self._advance()
        early = self.best.given_up(self.step)
        if not early and (self.length.total is None or self.step < self.length.total):
            self._tell(
                f"The time is over at step {self.step} of {self.length.total}: ended before its last steps."
            )
        self.update.settle()
        if kept := self.best.settle(self.method, self.step):
            self._tell(kept)
        share = self.waited / max(self.seconds - self.before, 1e-9)
        return Outcome(steps=self.step, seconds=self.seconds, waiting=share, events=tuple(self.events))

    def _over(self) -> bool:
        return self.length.over(self.step, self.seconds) or self.best.given_up(self.step)

    def close(self) -> None:
        self.ahead.close()
        self.compiled.undo()
        self.half.undo()
        self.journal.close()

    def _stop(self) -> None:
        if not self.keeper.has(self.step):
            self.keeper.save(self._state())
        of = f" of {self.length.total}" if self.length.total else ""
        raise Interrupted(
            f"Stopped at step {self.step}{of}; all is saved in {self.out}. "
            "To go on, run the same line with --resume."
        )

    # --- a step

    def _advance(self) -> None:
        t = self.step
        try:
            self._step(t)
        except NonFinite as problem:
            self.update.forget()
            self._go_back(Fault(str(problem), problem.network), t)
            return
        except Exception as failure:
            if not self.compiled.is_to_blame(failure):
                raise
            self.update.forget()
            self._tell(f"torch.compile failed here ({type(failure).__name__}); going on without it.")
            self.compiled.undo()
            self._restore(self.keeper.before_fault(-1), back=True)
            return
        self.step += 1
        self._after(new_stage=self._next_stage())

    def _step(self, t: int) -> None:
        batch = self.batch = self.ahead.get(t)
        self.waited += self.ahead.waited
        row: Row = {"step": t + 1, "seconds": time.perf_counter() - self.begun, "wait": self.ahead.waited}
        if t in self.watchdog.left_out or (not self.lazy and not finite(batch, self.device)):
            if t not in self.watchdog.left_out:
                self._tell(self.watchdog.leave_out(t))
            self.batch = None
            return
        share = factor(t, self.length.total, self.cfg.warmup, self.cfg.decay)
        self.update.done = self.length.done(t, self.seconds)
        self.update.set_rates(share, self.watchdog.scale)
        values = learn(self.method, batch, self.update, self.seed, t)
        values |= {f"gradient_{n}": norm for n, norm in self.update.norms.items()}
        for n in self.networks:
            row[f"lr_{n}"] = self.update.optimizers[n].param_groups[0]["lr"]
        self.pending.append((values, row))

    def _next_stage(self) -> bool:
        """Whether the step that is done was the first of a new stage, where other values are usual."""
        before, self.stage = self.stage, getattr(self.method, "stage", "")
        if before in ("", self.stage):
            return False
        self.watchdog.new_stage()
        self._tell(f"The {before} stage ends at step {self.step - 1}; the {self.stage} stage begins.")
        return True

    def _after(self, *, new_stage: bool) -> None:
        """What is due when ``self.step`` steps are done: looking, saving, drawing."""
        t = self.step
        total = self.length.total
        saves = t % self.cfg.checkpoint_every == 0 or t == total
        draws = shows_pictures(t, self.cfg.sample_every) or t == total or new_stage
        checks = shows_pictures(t, 200)
        if not (saves or draws or checks or self.best.due(t) or t % self.look_every == 0):
            return
        fault = self._check_drafts() if checks else None
        if not self._look():
            return
        if fault:
            self._go_back(fault, t - 1)
            return
        if self.best.due(t):
            with self.update.looking():
                self.best.look(self.method, t)
        fixed = self.length.fix(t, self.seconds)
        if saves or fixed or self._over():
            self.keeper.save(self._state())
        if draws:
            self._draw()
        self._report()

    def _look(self) -> bool:
        """Fetch the values of the pending steps and let the watchdog read them; False if it went back."""
        rows, self.pending = self._fetch(), []
        self.seconds, asked = processes.largest(
            [time.perf_counter() - self.begun, float(self.stop.asked)], self.device
        )
        self.stopping = bool(asked)
        for i, row in enumerate(rows):
            fault = self.watchdog.read({k: v for k, v in row.items() if k not in ("step", "seconds", "wait")})
            if fault:
                self.journal.rows(rows[:i])
                self._go_back(fault, int(row["step"] or 0) - 1)
                return False
            for note in self.watchdog.notes(row):
                self._tell(note)
        self.journal.rows(rows)
        return True

    def _fetch(self) -> list[Row]:
        """Rows of the pending steps, with one transfer; values are means over the processes."""
        tensors = [v.detach().float() for values, _ in self.pending for v in values.values()]
        if not tensors:
            return [row for _, row in self.pending]
        flat = torch.stack([t.to(self.device) for t in tensors])
        processes.average([flat])
        numbers = iter(flat.tolist())
        rows = []
        for values, row in self.pending:
            looked = {key: row.get(key) for key in LOOKED}  # last
            rows.append(row | {key: next(numbers) for key in values} | looked)
        if self.update.scaling():  # an overflow is the scaler's business: it has left out the update
            for row in rows:
                row |= {
                    k: None for k, v in row.items() if k.startswith("gradient_") and not math.isfinite(v or 0)
                }
        return rows

    def _check_drafts(self) -> Fault | None:
        """Look at how a few drafts vary."""
        real = self._some_pictures()
        if real is None:
            return None
        with self.update.looking(averaged=False):
            seen = drafts.look(self.method, real, self.seed)
        if self.pending:
            self.pending[-1][1].update(zip(LOOKED, (seen.spread, seen.variety), strict=True))
        fault, notes = self.watchdog.look(seen, self.step)
        for note in notes:
            self._tell(note)
        return fault

    def _some_pictures(self) -> Pair | None:
        """This process's pictures of the last step, and of earlier ones where these are few."""
        if self.batch is None:
            return None
        batches, t = [self.batch], self.step - 2
        while sum(len(b.target) for b in batches) < drafts.PICTURES and t >= 0:
            if t not in self.watchdog.left_out:
                batches.append(self.ahead.again(t))
            t -= 1
        real = joined(batches)
        return real if len(real.target) > 1 else None

    # --- going back

    def _go_back(self, fault: Fault, at: int) -> None:
        """Undo what was learnt since a sound checkpoint before step ``at``, with what the watchdog lowers."""
        self.pending = []
        if self.lazy and not finite(self.batch_at(at), self.device):
            sentence = self.watchdog.leave_out(at)
            state = self.keeper.before_fault(-1)
        else:
            state = self.keeper.before_fault(self.watchdog.last_try)
            sentence = self.watchdog.act(fault, at + 1, state["step"])
        self._restore(state, back=True)
        self.keeper.save(self._state(), undo=True)
        self._tell(sentence)

    # --- saving

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "total": self.length.total,
            "seconds": self.seconds,
            "stage": self.stage,
            "seed": self.seed,
            "config": json.dumps(self.config),
            "method": sharding.whole(self.method.state_dict()),
            "update": self.update.state(),
            "watchdog": self.watchdog.state(),
            "best": self.best.state(),
        }

    def _restore(self, state: dict[str, Any], *, back: bool = False) -> None:
        """Take over a checkpoint; going ``back``, time and what the watchdog did are not undone."""
        mine = self.method.state_dict()
        if mine.keys() != state["method"].keys():
            raise CheckpointError(f"The checkpoints in {self.keeper.folder} are of other networks.")
        for net in self.networks.values():
            sharding.let_go(net)
        sharding.fill(mine, state["method"])
        self.update.load(state["update"])
        self.watchdog.load(state["watchdog"], acts=not back)
        self.best.load(state["best"])
        self.step, self.stage = state["step"], state.get("stage", "")
        self.method.stage = self.stage  # type: ignore[assignment]
        if not back:
            self.seconds = state["seconds"]
            if self.cfg.steps is None:
                self.length.total = state["total"]
        self.journal.cut(self.step)

    # --- telling

    def _draw(self) -> None:
        if self.draw is None:
            return
        with self.update.looking():
            picture = self.draw(self.method)
        if self.first:
            from redraft.core.images import write

            (self.out / "samples").mkdir(exist_ok=True)
            with checkpoint.disk_full(self.out):
                write(picture, self.out / "samples" / f"step_{self.step:08d}.png", {"step": str(self.step)})

    def _tell(self, sentence: str) -> None:
        self.events.append(sentence)
        if self.first:
            self.journal.event(self.step, sentence)
            self._report(sentence)

    def _report(self, event: str | None = None) -> None:
        if not self.first:
            return
        self.report(Progress.at(self.step, self.seconds, self.length, dict(self.journal.smooth), event))
