"""Pairs of images: the generator makes one image of a pair from the other."""

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
    direction: Literal["a-to-b", "b-to-a"] = "a-to-b",  # a: the image in a/, or the left half of a picture
) -> Task:
    """One image of a pair from the other (Isola 2017, arXiv 1611.07004). Needs pairs of images as data."""
    if data.partners is None:
        raise UserError(
            f"{data.name}: holds no pairs; --task pairs needs a folder with a/ and b/, or one of pairs side by side"
        )
    given, wanted = (data.partners, data.records) if direction == "a-to-b" else (data.records, data.partners)

    def batch(rows: np.ndarray) -> Batch:
        return Batch(wanted(rows), Condition({"image": data.sample.to_net(given(rows))}))

    spec = ConditionSpec((Field("image", data.sample.shape, along=data.sample.axes),))
    return Task(spec, batch, repeating_order(data), condition_for=lambda image, mask: Condition({"image": image}))
