"""Sheets of images made from images: the input, the output and the target."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mulligan.core.batch import Batch, to_uint8
from mulligan.core.condition import Condition
from mulligan.core.network import Generator
from mulligan.core.sample import Sample
from mulligan.engine.sampling import draw


def translated(
    G: Generator,
    sample: Sample,
    heldout: Callable[[int, int | None], Batch],
    n: int,
    *,
    seed: int,
    pairs: bool,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The first `n` held-out images as `side_by_side` arranges them; without `pairs` there is no target."""
    rows: list[Tensor] = []
    batches: list[Batch] = []

    def conditions(start: int, count: int) -> Condition:
        batches.append(heldout(count, start))
        return batches[-1].cond

    for made, _ in draw(G, sample, n, seed=seed, conditions=conditions, device=device):
        real, cond = batches[-1]
        wanted = to_uint8(real[: len(made)]).cpu() if pairs else None
        rows.append(side_by_side(cond["image"][: len(made)].cpu(), made, wanted))
    return torch.cat(rows)


def side_by_side(given: Tensor, made: Tensor, wanted: Tensor | None) -> Tensor:
    """`given` (B, S, H, W) in [-1, 1], the others uint8 (B, C, H, W) -> uint8 (B, C, H, 3 W), or 2 W without `wanted`.

    A condition image of one channel is repeated to the channels of the others.
    """
    channels = made.shape[1]
    input_ = given[:, :channels] if given.shape[1] >= channels else given[:, :1].expand(-1, channels, -1, -1)
    return torch.cat([to_uint8(input_), made, *([] if wanted is None else [wanted])], 3)
