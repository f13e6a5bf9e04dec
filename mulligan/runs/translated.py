"""Pictures made from pictures, as one looks at them: what was shown, what was made of it, what was wanted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mulligan.core.batch import Batch, to_uint8
from mulligan.engine.sampling import CHUNK, draw


def translated(
    G: nn.Module, unseen: Callable[..., Batch], n: int, *, seed: int, pairs: bool, device: torch.device | str = "cpu"
) -> Tensor:
    """The first `n` held-out pictures as `side_by_side` has them; where they are no `pairs`, nothing was wanted."""
    rows: list[Tensor] = []
    dealt: list[Batch] = []

    def shown(start: int, count: int) -> Tensor:
        dealt.append(unseen(count, start))
        cond = dealt[-1].cond
        assert cond is not None
        return cond

    for made, _ in draw(G, n, seed=seed, shown=shown, device=device):
        real, cond = dealt[-1]
        assert cond is not None and len(made) <= CHUNK
        wanted = to_uint8(real[: len(made)]).cpu() if pairs else None
        rows.append(side_by_side(cond[: len(made)].cpu(), made, wanted))
    return torch.cat(rows)


def side_by_side(cond: Tensor, made: Tensor, wanted: Tensor | None) -> Tensor:
    """cond (B, S, H, W) in [-1, 1], the others uint8 (B, C, H, W) -> uint8 (B, C, H, 3 W); 2 W if none is wanted.

    Of what was shown, as many channels as pictures have; grey ones as often as it takes.
    """
    channels = made.shape[1]
    input_ = cond[:, :channels] if cond.shape[1] >= channels else cond[:, :1].expand(-1, channels, -1, -1)
    return torch.cat([to_uint8(input_), made, *([] if wanted is None else [wanted])], 3)
