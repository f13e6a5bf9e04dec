"""Pictures of one kind made to look like another kind, where nobody has pairs of both."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mulligan.core.batch import Batch, Shown, to_float
from mulligan.core.errors import UserError
from mulligan.core.registry import tasks
from mulligan.tasks.generation import Records, Task

TO_B, TO_A = 0, 1  # a side: where a picture is to land


@tasks.register()
def style(
    data: Records,
    *,
    ways: Literal[1, 2] = 2,  # 1: only from a to b
) -> Task:
    """From pictures of one set to such as are in another, and back (Zhu 2017, arXiv 1703.10593). Needs two data sets.

    What is dealt by is three numbers for each picture, (B, 3): a row of a, one of b, and the side it is to land in.
    """
    if len(data.shape) != 3:
        raise UserError(f"--task style: {data.name} is not made of images")
    if not hasattr(data, "partners"):
        raise UserError(f"{data.name}: is one data set; --task style goes from one to another: mulligan train A B")
    two = ways == 2

    def toward(shown: Tensor, side: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1], sides (B,) -> what G is shown: with two ways one more channel that says the side."""
        plane = side.to(shown)[:, None, None, None].expand(-1, 1, *shown.shape[2:])
        return torch.cat([shown, plane], 1) if two else shown

    def batch(rows: np.ndarray) -> Batch:
        a, b, side = data.partners(rows[:, 0]), data.images(rows[:, 1]), torch.from_numpy(rows[:, 2])
        to_a = (side == TO_A)[:, None, None, None]
        return Batch(torch.where(to_a, a, b), toward(to_float(torch.where(to_a, b, a)), side))

    def see(x: Tensor, side: int) -> Tensor:
        return toward(x, torch.full((len(x),), side, device=x.device))

    return Task(
        0,
        batch,
        Shown(data.shape[0] + two, unpaired=True, sides=two),
        see=lambda x, mask: see(x, TO_B),
        see_back=(lambda x, mask: see(x, TO_A)) if two else None,
    )
