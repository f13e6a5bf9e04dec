"""Generation from noise: the condition is nothing, or a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Generator, Tensor

from mulligan.core.batch import Batch, Shown
from mulligan.core.errors import UserError
from mulligan.core.registry import tasks


class Records(Protocol):
    """What a task asks of a data set."""

    name: str
    shape: tuple[int, ...]
    classes: list[str]

    def images(self, indices: np.ndarray) -> Tensor: ...
    def label_of(self, indices: np.ndarray) -> Tensor | None: ...


@dataclass(frozen=True)
class Task:
    """What G is told: `classes` (0: nothing), and how records become a batch (uint8 images, on the CPU).

    Where it is told an image, `shown` says of what kind, and one of three things gives it: the batch itself, as uint8;
    `corrupt`, from (B, C, H, W) in [-1, 1] on any device and dice of that device; and for a photo that somebody brings,
    `see`, from (B, C, H, W) and masks (B, 1, H, W) that are 1 in holes, or None. `see_back` is the same for the way
    from b to a, where there is one.
    """

    classes: int
    batch: Callable[[np.ndarray], Batch]
    shown: Shown | None = None
    corrupt: Callable[[Tensor, Generator], Tensor] | None = None
    see: Callable[[Tensor, Tensor | None], Tensor] | None = None
    see_back: Callable[[Tensor, Tensor | None], Tensor] | None = None


@tasks.register()
def unconditional(data: Records) -> Task:
    """G is told nothing."""
    return Task(0, lambda indices: Batch(data.images(indices), None))


@tasks.register()
def by_class(data: Records) -> Task:
    """G is told the class of the image to make (Mirza, Osindero 2014, arXiv 1411.1784). Needs labels."""
    if not data.classes:
        raise UserError(f"{data.name}: has no labels to train by class; give --labels if its sub-folders are classes")
    return Task(len(data.classes), lambda indices: Batch(data.images(indices), data.label_of(indices)))


@tasks.register()
def by_class_if_labelled(data: Records) -> Task:
    """By class where the data has labels, unconditional where it has none."""
    return by_class(data) if data.classes else unconditional(data)
