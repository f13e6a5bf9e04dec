"""Dealing what G is shown with what it is to make of it, and comparing the two."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from mulligan.core.batch import Batch, to_float, to_uint8
from mulligan.core.seeding import endless_order, mix
from mulligan.data import Data
from mulligan.data.unpaired import UnpairedData
from mulligan.metrics.features.net import FeatureNet
from mulligan.metrics.pictures import maps_apart
from mulligan.tasks.generation import Task

FEWEST = 8  # held-out images; of data with fewer, images of training stand in


Vary = Callable[[Tensor, torch.Generator], Tensor]  # (B, C, H, W) in [-1, 1], dice -> the same, in another way


class PairDealer:
    """Batches (what is wanted, what is shown) on the device. All dice are a function of position.

    Training pictures go through `vary` first, those of a pair alike. Held-out ones are corrupted in the same way
    always, so that looks compare. They come in blocks whose corruption depends on where they begin: ask for the same
    blocks to see the same pictures.
    """

    def __init__(self, task: Task, data: Data, device: torch.device, seed: int, vary: Vary | None = None) -> None:
        self.task, self.data, self.device, self.seed, self.vary = task, data, device, seed, vary
        apart = data.heldout if len(data.heldout) >= FEWEST else data.train
        self.apart = np.random.default_rng(0).permutation(apart)  # the first few are of all classes

    def train(self, position: int, count: int) -> Batch:
        """The images at `position` of the endless order."""
        rows = self.data.train[endless_order(len(self.data.train), self.seed, position, count)]
        return self._deal(rows, mix("corrupt", self.seed, position), self.vary)

    def heldout(self, count: int, start: int | None = None) -> Batch:
        """Held-out images from `start` on, again from the first after the last."""
        start = start or 0
        rows = self.apart[np.arange(start, start + count) % len(self.apart)]
        return self._deal(rows, mix("corrupt held-out", start))

    def _deal(self, rows: np.ndarray, seed: int, vary: Vary | None = None) -> Batch:
        dice = torch.Generator(self.device).manual_seed(seed)
        pictures = [
            to_float(each.to(self.device, non_blocking=True)) for each in self.task.batch(rows) if each is not None
        ]
        if vary:
            pictures = list(vary(torch.cat(pictures, 1), dice).split(self.data.shape[0], 1))
        real = pictures[0]
        return Batch(real, self.task.corrupt(real, dice) if self.task.corrupt else pictures[1])


class UnpairedDealer:
    """Batches of two sets of images of which none go together; where there are two ways, by turns to b and to a.

    Two in a row have the same images of a and b, once this way and once that, as in Zhu 2017. Each set has an endless
    order of its own. Training pictures go through `vary` first.
    """

    def __init__(
        self, task: Task, data: UnpairedData, device: torch.device, seed: int, vary: Vary | None = None
    ) -> None:
        assert task.shown
        self.task, self.data, self.device, self.seed, self.vary = task, data, device, seed, vary
        self.ways = 2 if task.shown.sides else 1
        both = (data.a, data.b)
        apart = (side.heldout if len(side.heldout) >= FEWEST else side.train for side in both)
        self.apart = [np.random.default_rng(0).permutation(rows) for rows in apart]

    def train(self, position: int, count: int) -> Batch:
        """The images at `position` of the endless orders."""
        turns = np.arange(position, position + count)
        at = turns // self.ways
        rows = [
            side.train[endless_order(len(side.train), mix("side", self.seed, which), at[0], len(set(at)))][at - at[0]]
            for which, side in enumerate((self.data.a, self.data.b))
        ]
        batch = self._deal(rows, turns % self.ways)
        if not self.vary:
            return batch
        dice = torch.Generator(self.device).manual_seed(mix("vary", self.seed, position))
        assert batch.cond is not None
        shown, side = batch.cond.split((self.data.shape[0], self.ways - 1), 1)
        return Batch(self.vary(batch.real, dice), torch.cat([self.vary(shown, dice), side], 1))

    def heldout(self, count: int, start: int | None = None) -> Batch:
        """Held-out images from `start` on, over and over, all to b; without `start` both ways, as in training."""
        turns = np.arange(count) + (start or 0)
        at = turns if start is not None else turns // self.ways
        return self._deal(
            [rows[at % len(rows)] for rows in self.apart], turns % self.ways if start is None else 0 * turns
        )

    def _deal(self, rows: list[np.ndarray], sides: np.ndarray) -> Batch:
        real, cond = self.task.batch(np.stack([*rows, sides], 1))
        assert cond is not None
        return Batch(to_float(real.to(self.device, non_blocking=True)), cond.to(self.device))


def dealer(
    task: Task, data: Data, device: torch.device, seed: int, vary: Vary | None = None
) -> PairDealer | UnpairedDealer:
    """Who deals what G is shown, where it is."""
    if task.shown and task.shown.unpaired:
        assert isinstance(data, UnpairedData)
        return UnpairedDealer(task, data, device, seed, vary)
    return PairDealer(task, data, device, seed, vary)
