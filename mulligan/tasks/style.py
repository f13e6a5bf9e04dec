"""Translation between two sets of images without pairs."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mulligan.core.batch import Batch
from mulligan.core.condition import Condition, ConditionSpec, Field
from mulligan.core.errors import UserError
from mulligan.core.registry import tasks
from mulligan.core.seeding import endless_order, mix
from mulligan.tasks.generation import FEWEST, Order, Records, Task

TO_B, TO_A = 0, 1  # the side that a generated image is to belong to


def _order(sides: tuple[Records, Records], directions: int) -> Order:
    """Rows (B, 3): a row of a, a row of b, and the side to translate to. With two directions, b and a alternate.

    Two consecutive rows have the same images of a and b, once in each direction, as in Zhu 2017. Each set has its own
    endless order. Held-out rows with a `start` all translate to b.
    """
    heldout_rows = [
        np.random.default_rng(0).permutation(side.heldout if len(side.heldout) >= FEWEST else side.train)
        for side in sides
    ]

    def train(seed: int, position: int, count: int) -> np.ndarray:
        turns = np.arange(position, position + count)
        at = turns // directions
        pairs = len(set(at))
        rows = [
            side.train[endless_order(len(side.train), mix("side", seed, which), at[0], pairs)][at - at[0]]
            for which, side in enumerate(sides)
        ]
        return np.stack([*rows, turns % directions], 1)

    def heldout(count: int, start: int | None) -> np.ndarray:
        turns = np.arange(count) + (start or 0)
        at = turns if start is not None else turns // directions
        to = 0 * turns if start is not None else turns % directions
        return np.stack([*(rows[at % len(rows)] for rows in heldout_rows), to], 1)

    return Order(train, heldout)


@tasks.register(kinds={"image"}, gives={"image", "side"}, recipe="restyle", reader="unpaired")
def style(
    data: Records,
    *,
    directions: Literal[1, 2] = 2,  # 1: only from a to b; 2: also from b to a
) -> Task:
    """From images of one set to images of another, and back (Zhu 2017, arXiv 1703.10593). Needs two data sets."""
    if data.sides is None:
        raise UserError(f"{data.name}: is one data set, and --task style needs two: mulligan train A B --task style")
    first, second = data.sides
    both = directions == 2

    def condition_of(image: Tensor, side: Tensor) -> Condition:
        return Condition({"image": image, "side": side} if both else {"image": image})

    def batch(rows: np.ndarray) -> Batch:
        a, b, side = first.records(rows[:, 0]), second.records(rows[:, 1]), torch.from_numpy(rows[:, 2])
        to_a = (side == TO_A)[:, None, None, None]
        return Batch(torch.where(to_a, a, b), condition_of(data.sample.to_net(torch.where(to_a, b, a)), side))

    def condition_to(image: Tensor, side: int) -> Condition:
        return condition_of(image, torch.full((len(image),), side, device=image.device))

    fields = [Field("image", data.sample.shape, along=data.sample.axes), *([Field("side", classes=2)] if both else [])]
    return Task(
        ConditionSpec(tuple(fields), paired=False),
        batch,
        _order((first, second), directions),
        condition_for=lambda image, mask: condition_to(image, TO_B),
        condition_back=(lambda image, mask: condition_to(image, TO_A)) if both else None,
    )
