"""Batches of a data set for a task: float samples and their condition, on the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mulligan.core.batch import Batch
from mulligan.core.seeding import mix
from mulligan.data import Dataset
from mulligan.tasks.generation import Task

Vary = Callable[[Tensor, torch.Generator], Tensor]  # (B, *shape), rng of its device -> varied samples


class Dealer:
    """Batches by position: the same position gives the same batch, so that there is no state to save.

    Training samples go through `vary` first, together with the fields of the condition that are aligned with them.
    Held-out samples are always the same, corrupted in the same way, so that evaluations can be compared: the same
    blocks give the same samples.
    """

    def __init__(self, task: Task, data: Dataset, device: torch.device, seed: int, vary: Vary | None = None) -> None:
        self.task, self.sample, self.device, self.seed, self.vary = task, data.sample, device, seed, vary
        self.along = [field.name for field in task.condition if field.along and not task.corrupt]

    def train(self, position: int, count: int) -> Batch:
        """The samples at `position` of the endless order."""
        batch = self._batch(self.task.order.train(self.seed, position, count))
        if self.vary:
            batch = self._varied(batch, torch.Generator(self.device).manual_seed(mix("vary", self.seed, position)))
        return self._corrupted(batch, mix("corrupt", self.seed, position))

    def heldout(self, count: int, start: int | None = None) -> Batch:
        """Held-out samples from `start` on. Without a `start`, which is for probes: at most `count`, as in training."""
        return self._corrupted(self._batch(self.task.order.heldout(count, start)), mix("corrupt held-out", start or 0))

    def _batch(self, rows: np.ndarray) -> Batch:
        records, cond = self.task.batch(rows)
        if self.device.type == "cuda":
            records = records.pin_memory()  # so that the copy is asynchronous
        return Batch(self.sample.to_net(records.to(self.device, non_blocking=True)), cond.to(self.device))

    def _varied(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Fields that belong to their sample are varied in the same way; those of another data set on their own."""
        assert self.vary
        parts = [batch.real, *(batch.cond[name] for name in self.along)]
        if self.task.condition.paired:
            varied = self.vary(torch.cat(parts, 1), rng).split([part.shape[1] for part in parts], 1)
        else:
            varied = [self.vary(part, rng) for part in parts]
        return Batch(varied[0], batch.cond.changed(**dict(zip(self.along, varied[1:], strict=True))))

    def _corrupted(self, batch: Batch, seed: int) -> Batch:
        if not self.task.corrupt:
            return batch
        rng = torch.Generator(self.device).manual_seed(seed)
        return Batch(batch.real, self.task.corrupt(batch.real, rng))
