"""Dealing what G is shown with what it is to make of it, and comparing the two."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from mulligan.core.batch import Batch, to_float, to_uint8
from mulligan.core.seeding import endless_order, mix
from mulligan.data import Data
from mulligan.tasks.generation import Task

FEWEST = 8  # held-out images; of data with fewer, images of training stand in


class PairDealer:
    """Batches (what is wanted, what is shown) on the device. All dice are a function of position.

    Held-out pictures are corrupted in the same way always, so that looks compare. They come in blocks whose corruption
    depends on where they begin: ask for the same blocks to see the same pictures.
    """

    def __init__(self, task: Task, data: Data, device: torch.device, seed: int) -> None:
        self.task, self.data, self.device, self.seed = task, data, device, seed
        apart = data.heldout if len(data.heldout) >= FEWEST else data.train
        self.apart = np.random.default_rng(0).permutation(apart)  # the first few are of all classes

    def train(self, position: int, count: int) -> Batch:
        """The images at `position` of the endless order."""
        rows = self.data.train[endless_order(len(self.data.train), self.seed, position, count)]
        return self._deal(rows, mix("corrupt", self.seed, position))

    def heldout(self, count: int, start: int = 0) -> Batch:
        """Held-out images from `start` on, again from the first after the last."""
        rows = self.apart[np.arange(start, start + count) % len(self.apart)]
        return self._deal(rows, mix("corrupt held-out", start))

    def _deal(self, rows: np.ndarray, seed: int) -> Batch:
        batch = self.task.batch(rows)
        real, cond = to_float(batch.real.to(self.device, non_blocking=True)), batch.cond
        if self.task.corrupt:
            cond = self.task.corrupt(real, torch.Generator(self.device).manual_seed(seed))
        assert cond is not None
        return Batch(real, to_float(cond.to(self.device)))


class Compared:
    """Held-out pairs behind `draw`: it asks what G is shown, and what G made of it is compared with what was wanted."""

    def __init__(self, unseen: Callable[..., Batch]) -> None:
        self.unseen = unseen
        self.decibels: list[Tensor] = []

    def shown(self, start: int, count: int) -> Tensor:
        """What G is shown for samples `start` to `start + count`."""
        self.wanted, cond = self.unseen(count, start)
        assert cond is not None
        return cond

    def watch(self, blocks: Iterator[tuple[Tensor, Tensor | None]]) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The blocks as they come, each compared on its way."""
        for made, ids in blocks:
            self.decibels.append(psnr(made, to_uint8(self.wanted[: len(made)]).cpu()))
            yield made, ids

    def psnr(self) -> float:
        """Mean over all images that went by."""
        return torch.cat(self.decibels).mean().item()


def psnr(made: Tensor, wanted: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of uint8 images (B, C, H, W), in decibels: (B,). Equal ones have 100."""
    error = (made.double() - wanted.double()).flatten(1).square().mean(1).clamp(min=255**2 * 1e-10)
    return 10 * torch.log10(255**2 / error)
