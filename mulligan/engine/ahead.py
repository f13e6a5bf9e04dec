"""Preparing the next batch while the networks compute on this one.

What a batch holds is a function of its position, so a batch prepared early is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from mulligan.core.batch import Batch
from mulligan.core.condition import Condition

TrainBatch = Callable[[int, int], Batch]


class Ahead:
    """A `train_batch(position, count)` that has the next batch ready when it is asked for.

    The next position is taken to be `count * stride` further; a batch at any other is prepared when asked for. One
    thread does all of it, so `train_batch` is never called twice at once. That must use random generators of its own,
    never torch's global one, which belongs to the step that is computed meanwhile. Its errors are raised in the caller.
    On a GPU, tensors that it leaves on the CPU are moved there from pinned memory.
    """

    def __init__(self, train_batch: TrainBatch, device: torch.device, *, stride: int = 1) -> None:
        self.train_batch, self.device, self.stride = train_batch, device, stride
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._next: tuple[tuple[int, int], Future[Batch]] | None = None

    def __call__(self, position: int, count: int) -> Batch:
        asked, ready = (position, count), self._next
        if ready and ready[0] == asked:
            batch = ready[1]
        else:
            if ready:
                ready[1].cancel()
            batch = self._thread.submit(self._prepare, *asked)
        following = (position + count * self.stride, count)
        self._next = following, self._thread.submit(self._prepare, *following)
        return batch.result()

    def close(self) -> None:
        """Let the thread end, after the batch that it is at. Needed by nobody: it ends with the process, too."""
        self._next = None
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, position: int, count: int) -> Batch:
        real, cond = self.train_batch(position, count)
        return Batch(self._moved(real), Condition({name: self._moved(tensor) for name, tensor in cond.items()}))

    def _moved(self, tensor: Tensor) -> Tensor:
        if self.device.type != "cuda" or tensor.device.type != "cpu":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)


def prepared_ahead(train_batch: TrainBatch, device: torch.device, *, stride: int = 1) -> TrainBatch:
    """`train_batch`, ahead where that helps: on a GPU. On a CPU the thread would compete with the networks."""
    return Ahead(train_batch, device, stride=stride) if device.type == "cuda" else train_batch
