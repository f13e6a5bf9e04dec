"""Pairs of pictures: from the one the generator makes the other."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mulligan.core.batch import Batch
from mulligan.core.condition import Condition, ConditionSpec, Field
from mulligan.core.errors import UserError
from mulligan.core.registry import tasks
from mulligan.tasks.generation import Records, Task, repeating_order


@tasks.register(kinds={"image"}, gives={"image"}, recipe="restore", reader="pairs")
def pairs(
    data: Records,
    *,
    direction: Literal["a-to-b", "b-to-a"] = "a-to-b",  # a: the folder a/, or the left half
) -> Task:
    """From one picture of a pair the other (Isola 2017, arXiv 1611.07004). Needs data opened as pairs."""
    if data.partners is None:
        raise UserError(
            f"{data.name}: holds no pairs; --task pairs takes a folder with a/ and b/, or pictures side by side"
        )
    first, second = (data.partners, data.records) if direction == "a-to-b" else (data.records, data.partners)

    def batch(rows: np.ndarray) -> Batch:
        return Batch(second(rows), Condition({"image": data.sample.to_net(first(rows))}))

    spec = ConditionSpec((Field("image", data.sample.shape, along=data.sample.axes),))
    return Task(spec, batch, repeating_order(data), condition_for=lambda image, mask: Condition({"image": image}))
