"""Pairs that somebody took or drew: from the one picture G is to make the other."""

from __future__ import annotations

from typing import Literal

from mulligan.core.batch import Batch, Shown
from mulligan.core.errors import UserError
from mulligan.core.registry import tasks
from mulligan.tasks.generation import Records, Task


@tasks.register()
def pairs(
    data: Records,
    *,
    direction: Literal["a-to-b", "b-to-a"] = "a-to-b",  # a: the folder a/, or the left half
) -> Task:
    """From one picture of a pair the other (Isola 2017, arXiv 1611.07004). Needs data opened as pairs."""
    if not hasattr(data, "partners"):
        raise UserError(
            f"{data.name}: holds no pairs; --task pairs takes a folder with a/ and b/, or pictures side by side"
        )
    first, second = (data.partners, data.images) if direction == "a-to-b" else (data.images, data.partners)
    return Task(0, lambda indices: Batch(second(indices), first(indices)), Shown(data.shape[0]), see=lambda x, mask: x)
