"""Tasks: what a generator is given and how batches are made; here those of generation from noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Generator, Tensor

from mulligan.core.batch import Batch
from mulligan.core.condition import NOTHING, Condition, ConditionSpec, by_class
from mulligan.core.errors import UserError
from mulligan.core.registry import tasks
from mulligan.core.sample import Sample
from mulligan.core.seeding import endless_order

FEWEST = 8  # held-out samples; where there are fewer, training samples are used instead


class Records(Protocol):
    """What a task uses of a data set (`data.Dataset`)."""

    @property
    def name(self) -> str: ...
    @property
    def sample(self) -> Sample: ...
    @property
    def classes(self) -> list[str]: ...
    @property
    def train(self) -> np.ndarray: ...
    @property
    def heldout(self) -> np.ndarray: ...
    @property
    def partners(self) -> Callable[[np.ndarray], Tensor] | None: ...
    @property
    def sides(self) -> tuple[Records, Records] | None: ...
    def records(self, indices: np.ndarray) -> Tensor: ...
    def label_of(self, indices: np.ndarray) -> Tensor | None: ...


@dataclass(frozen=True)
class Order:
    """Which rows of a data set are in a batch. Both are pure functions of a position, so nothing has to be saved.

    `train(seed, position, count)` gives the rows at a position of an endless shuffled order. `heldout(count, start)`
    gives held-out rows from `start` on; without a `start` they are for a probe: at most `count`, with conditions as in
    training.
    """

    train: Callable[[int, int, int], np.ndarray]
    heldout: Callable[[int, int | None], np.ndarray]


@dataclass(frozen=True)
class Task:
    """What a generator is given, and how rows become a batch.

    `batch(rows)` gives records and their conditions, ready for networks, on the CPU. A restoration task makes the
    conditions from real samples instead: `corrupt(real, rng)` takes float (B, *shape) on any device, and an rng of that
    device. `condition_for(images, masks)` is for files that a user brings to a trained generator of images from images:
    it gives the condition for images (B, C, H, W) and masks (B, 1, H, W) that are 1 in holes, or None.
    `condition_back` is the same for the other direction, where the generator has one.
    """

    condition: ConditionSpec
    batch: Callable[[np.ndarray], Batch]
    order: Order
    corrupt: Callable[[Tensor, Generator], Condition] | None = None
    condition_for: Callable[[Tensor, Tensor | None], Condition] | None = None
    condition_back: Callable[[Tensor, Tensor | None], Condition] | None = None


def training_order(train: np.ndarray) -> Callable[[int, int, int], np.ndarray]:
    return lambda seed, position, count: train[endless_order(len(train), seed, position, count)]


def plain_order(data: Records) -> Order:
    """Training rows shuffled; held-out rows in their own order, each once."""
    return Order(training_order(data.train), lambda count, start: data.heldout[start or 0 : (start or 0) + count])


def repeating_order(data: Records) -> Order:
    """Held-out rows in a fixed shuffled order, again and again, so that the first few are of all classes."""
    heldout = data.heldout if len(data.heldout) >= FEWEST else data.train
    shuffled = np.random.default_rng(0).permutation(heldout)
    return Order(
        training_order(data.train),
        lambda count, start: shuffled[np.arange(start or 0, (start or 0) + count) % len(shuffled)],
    )


@tasks.register()
def unconditional(data: Records) -> Task:
    """The generator gets noise and nothing else."""
    return Task(NOTHING, lambda rows: Batch(data.records(rows), Condition()), plain_order(data))


@tasks.register("by-class", gives={"class"})
def of_class(data: Records) -> Task:
    """The generator gets the class of the sample to make (Mirza, Osindero 2014, arXiv 1411.1784). Needs labels."""
    if not data.classes:
        raise UserError(f"{data.name}: has no labels to train by class; give --labels if its sub-folders are classes")

    def batch(rows: np.ndarray) -> Batch:
        labels = data.label_of(rows)
        assert labels is not None
        return Batch(data.records(rows), Condition({"class": labels}))

    return Task(by_class(len(data.classes)), batch, plain_order(data))


@tasks.register("by-class-if-labelled", gives={"class"})
def of_class_if_labelled(data: Records) -> Task:
    """By class where the data have labels; unconditional where they have none."""
    return of_class(data) if data.classes else unconditional(data)
