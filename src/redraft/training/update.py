"""The trainer's verb: descend this loss in this network, and in no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from redraft.core.errors import UsageError
from redraft.training import processes, sharding
from redraft.training.settings import Train


class NonFinite(ArithmeticError):
    """A loss or a gradient is not a number. The optimizer has not moved; the watchdog decides."""

    def __init__(self, network: str, what: str) -> None:
        self.network, self.what = network, what
        super().__init__(f"the {what} of {network} is not a finite number")


class Update:
    """``update(net, loss)``: backward into ``net`` alone, average, clip, Adam, moving average.

    Losses are means over pictures, so that the mean of the gradients of the parts of a batch, over
    micro-batches and over processes, is the gradient of the whole.

    A non-finite loss or gradient ``raises`` NonFinite. On a GPU that would make the host wait for the
    device twice a step; without ``raises`` the fused optimizer leaves out such an update by itself, and
    the trainer sees it in ``norms`` when it next looks.
    """

    def __init__(
        self,
        networks: dict[str, nn.Module],
        cfg: Train,
        dtype: torch.dtype = torch.float32,
        raises: bool = True,
    ) -> None:
        cfg.fit(networks)
        self.networks, self.cfg = networks, cfg
        self.names = {id(net): name for name, net in networks.items()}
        self.params = {n: [p for p in net.parameters() if p.requires_grad] for n, net in networks.items()}
        self.device = next(p for ps in self.params.values() for p in ps).device
        self.split = any(sharding.is_split(p) for ps in self.params.values() for p in ps)
        self.raises = raises or self.split  # FSDP2's tensors do not go with ``found_inf``
        fused = self.device.type in ("cpu", "cuda")
        self.optimizers = {
            n: torch.optim.Adam(
                ps, lr=cfg.lr[n], betas=cfg.betas.get(n, (0.9, 0.999)), amsgrad=cfg.amsgrad, fused=fused
            )
            for n, ps in self.params.items()
        }
        scaled = dtype == torch.float16
        if scaled and self.split:
            raise UsageError("train.shard does not go with train.precision=fp16; use bf16 or float32.")
        self.scalers = {n: torch.amp.GradScaler(self.device.type, enabled=scaled) for n in networks}
        self.averages = {
            n: {k: v.detach().clone() for k, v in networks[n].state_dict().items()}
            for n in networks
            if cfg.ema.get(n)
        }
        self.counts = dict.fromkeys(networks, 0)  # of updates
        self.restarts: dict[str, int] = {}  # the count at which a network's optimizer began anew
        self.norms: dict[str, Tensor] = {}  # of this step's gradients, before clipping
        self.done = 0.0  # the share of the training that lies behind
        self._part, self._parts = 0, 1
        self._seen: set[str] = set()

    def set_rates(self, share: float, scale: dict[str, float]) -> None:
        """Learning rates of the coming step: setting x share x scale of the network (default 1)."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self.cfg.lr[name] * share * scale.get(name, 1.0) * self._warmth(name)

    def _warmth(self, name: str) -> float:
        """The warm-up of an optimizer that began anew in mid-training; else 1."""
        if name not in self.restarts or not self.cfg.warmup:
            return 1.0
        return min(1.0, (self.counts[name] - self.restarts[name] + 1) / self.cfg.warmup)

    def part(self, index: int, of: int) -> None:
        """What comes is micro-batch ``index`` of ``of``; the optimizers move after the last."""
        self._part, self._parts = index, of
        self._seen.clear()
        self.norms.clear()  # of a network that does not learn in this step none is told

    def __call__(self, net: nn.Module, loss: Tensor) -> None:
        self.together([net], loss)

    def together(self, nets: Sequence[nn.Module], loss: Tensor) -> None:
        """One loss that all of ``nets`` descend, with one pass backward."""
        names = [self.names[id(net)] for net in nets]
        twice = self._seen.intersection(names)
        if self._parts > 1 and twice:
            raise UsageError(
                f"This method updates {min(twice)} twice in a step, so a batch cannot be split: "
                "set train.accumulate=1."
            )
        self._seen.update(names)
        scaler = self.scalers[names[0]]  # one loss has one scale
        scaled = scaler.scale(loss / self._parts)
        if self.split:  # FSDP2's weights are not leaves of the graph; the losses reach these networks only
            scaled.backward()
        else:
            scaled.backward(inputs=[p for name in names for p in self.params[name]])
        if self._part < self._parts - 1:
            return
        for name in names:
            self._move(name, loss.detach(), scaler)
        if scaler.is_enabled():
            scaler.update()

    def restart(self, net: nn.Module) -> None:
        """Forget the moments and the count of steps of the network's Adam, and warm its rate up once more.

        Adam's first steps are signs of the gradient, as long for a small one as for a large one.
        """
        name = self.names[id(net)]
        self.optimizers[name].state.clear()
        self.restarts[name] = self.counts[name]
        for group in self.optimizers[name].param_groups:
            group["lr"] *= self._warmth(name)

    def take_average(self, net: nn.Module) -> None:
        """Let the network go on from its moving average, where it has one."""
        name = self.names[id(net)]
        if name in self.averages:
            self._fill({name: net.state_dict()}, self.averages)

    @torch.no_grad()
    def _move(self, name: str, loss: Tensor, scaler: torch.amp.GradScaler) -> None:
        optimizer, params = self.optimizers[name], self.params[name]
        grads = [p.grad for p in params if p.grad is not None]
        loss = loss.float().clone()
        processes.average([loss] if self.split else [*grads, loss])  # FSDP2 averages by itself
        if scaler.is_enabled():
            scaler.unscale_(optimizer)
        norm = self.norms[name] = sharding.whole(torch.nn.utils.get_total_norm(grads))
        if self.raises and not scaler.is_enabled():
            for what, value in (("loss", loss), ("gradient", norm)):
                if not torch.isfinite(value):
                    raise NonFinite(name, what)
        if self.cfg.clip.get(name):
            torch.nn.utils.clip_grads_with_norm_(params, self.cfg.clip[name], norm)
        if scaler.is_enabled():
            scaler.step(optimizer)
        else:
            if not self.raises:  # as GradScaler does: the fused step is left out when this is 1
                left_out = ~(norm.isfinite() & loss.isfinite())
                optimizer.found_inf = left_out.float()  # type: ignore[attr-defined]
            optimizer.step()
        optimizer.zero_grad()
        sharding.let_go(self.networks[name])
        self._average(name)

    def _average(self, name: str) -> None:
        """Moving average with a warm start: decay min(ema, t/(t+10)); buffers are copied."""
        t = self.counts[name]
        self.counts[name] += 1
        if name not in self.averages:
            return
        decay = min(self.cfg.ema[name], t / (t + 10))
        learnt = {k for k, _ in self.networks[name].named_parameters(remove_duplicate=False)}
        state = {k: sharding.local(v) for k, v in self.networks[name].state_dict().items()}
        average = {k: sharding.local(v) for k, v in self.averages[name].items()}
        keys = [k for k in state if k in learnt]
        torch._foreach_lerp_([average[k] for k in keys], [state[k] for k in keys], 1 - decay)
        for k in state.keys() - learnt:
            average[k].copy_(state[k])

    def scaling(self) -> bool:
        """Whether losses are scaled (fp16) and there is still room to scale them down."""
        return any(s.is_enabled() and s.get_scale() > 1 for s in self.scalers.values())

    def forget(self) -> None:
        """Drop gradients of a step that was given up."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    @contextmanager
    def looking(self, averaged: bool = True) -> Iterator[None]:
        """Inside, the networks are in eval mode and, if ``averaged``, hold their moving averages."""
        modes = [(m, m.training) for net in self.networks.values() for m in net.modules()]
        states = {n: self.networks[n].state_dict() for n in self.averages} if averaged else {}
        raw = {n: {k: v.clone() for k, v in state.items()} for n, state in states.items()}
        for net in self.networks.values():
            net.eval()
        self._fill(states, self.averages)
        try:
            yield
        finally:
            self._fill(states, raw)
            for m, mode in modes:
                m.training = mode

    def settle(self) -> None:
        """The end of training: the networks take their moving averages for good, in eval mode."""
        self._fill({n: self.networks[n].state_dict() for n in self.averages}, self.averages)
        for net in self.networks.values():
            net.eval()

    @torch.no_grad()
    def _fill(self, states: dict[str, dict[str, Tensor]], values: dict[str, dict[str, Tensor]]) -> None:
        for net in self.networks.values():
            sharding.let_go(net)
        for name, state in states.items():
            for k, v in state.items():
                v.copy_(values[name][k])

    def state(self) -> dict[str, Any]:
        """All that the next step needs besides the networks, with whole tensors."""
        state = {
            "optimizers": {n: o.state_dict() for n, o in self.optimizers.items()},
            "scalers": {n: s.state_dict() for n, s in self.scalers.items()},
            "averages": self.averages,
            "counts": self.counts,
            "restarts": self.restarts,
        }
        return sharding.whole(state)

    def load(self, state: dict[str, Any]) -> None:
        for name, optimizer in self.optimizers.items():
            saved = state["optimizers"][name]
            moments = {
                i: {k: sharding.split_like(v, self.params[name][i]) for k, v in values.items()}
                for i, values in saved["state"].items()
            }
            optimizer.load_state_dict({**saved, "state": moments})
            self.scalers[name].load_state_dict(state["scalers"][name])
            if name in self.averages:
                sharding.fill(self.averages[name], state["averages"][name])
        self.counts = dict(state["counts"])
        self.restarts = dict(state.get("restarts", {}))
