"""A term that limits the resolution at which D sees samples."""

from __future__ import annotations

from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Step, View, ViewRule, unchanged
from mulligan.nn.resample import coarse


def _halvings(space: tuple[int, ...], coarsest: int) -> int:
    """How often all sides can be halved with the shortest at `coarsest` or more."""
    count = 0
    while space and all(side % 2 ** (count + 1) == 0 for side in space) and min(space) >> (count + 1) >= coarsest:
        count += 1
    return count


@terms.register()
def growing(
    *,
    coarsest: int = 4,  # shortest side that D starts with, or the next larger one that halvings lead to
    hold: float = 0.5,  # share of the time at one resolution before the next is faded in
) -> ViewRule:
    """D sees samples at a resolution that grows (Karras 2018, arXiv 1710.10196, sec. 2 and fig. 2).

    The weight, a schedule, says how far it has grown: from 0, the coarsest, to 1, the full resolution. The next one is
    faded in linearly, as the paper does with reals and fakes alike. Both players have all their layers from the start,
    so early steps cost what late ones do. Layers of `progan`'s G finer than what D sees do not learn.
    """
    if coarsest < 1 or not 0 <= hold < 1:
        raise UserError(f"coarsest={coarsest} must be 1 or more, hold={hold} from 0 to below 1")

    def fn(step: Step, weight: float) -> tuple[View, View]:
        halvings = _halvings(step.real.shape[2:], coarsest)
        grown = min(max(weight, 0.0), 1.0) * halvings  # in doublings
        if grown == halvings:
            return unchanged, unchanged
        factor = 2 ** (halvings - int(grown))
        fade = max(0.0, (grown % 1 - hold) / (1 - hold))

        def view(x: Tensor) -> Tensor:
            now = coarse(x, factor)
            return now.lerp(coarse(x, factor // 2), fade) if fade else now

        return view, view

    return ViewRule("both", fn)
