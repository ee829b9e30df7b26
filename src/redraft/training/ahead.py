"""The next batch is made while the step runs, in one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from redraft.core.types import Pair


class Ahead:
    """``batch_at`` one step ahead. ``waited`` is how long the last call kept the step waiting, in seconds."""

    def __init__(self, batch_at: Callable[[int], Pair], device: torch.device) -> None:
        self._batch_at = batch_at

        def start() -> None:  # the current GPU is a matter of each thread
            if device.type == "cuda":
                torch.cuda.set_device(device)

        self._thread = ThreadPoolExecutor(1, "batches", initializer=start)
        self._next: tuple[int, Future[Pair]] | None = None
        self.waited = 0.0

    def get(self, t: int) -> Pair:
        start = time.perf_counter()
        if self._next is None or self._next[0] != t:
            self._next = (t, self._thread.submit(self._batch_at, t))
        batch = self._next[1].result()
        self._next = (t + 1, self._thread.submit(self._batch_at, t + 1))
        self.waited = time.perf_counter() - start
        return batch

    def again(self, t: int) -> Pair:
        """The batch of an earlier step once more, beside the order."""
        return self._thread.submit(self._batch_at, t).result()

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
