"""Terms about how fine the images are that D is shown."""

from __future__ import annotations

from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Passage, Step, View, plainly
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
    coarsest: int = 4,  # the shorter side D begins with, or the next above that halvings lead to
    hold: float = 0.5,  # share of a size's time before the next is faded in
) -> Passage:
    """D is shown images at a resolution that grows (Karras 2018, arXiv 1710.10196, sec. 2 and fig. 2).

    The weight, a schedule, says how far it has grown: at 0 there is the coarsest size, at 1 or more all that there is.
    A size is faded in by going linearly from the one before, as the paper does with reals and fakes alike. The players
    have all their layers from the beginning, so early steps cost what late ones do; those of `progan`'s G that draw
    what is finer than D sees do not learn.
    """
    if coarsest < 1 or not 0 <= hold < 1:
        raise UserError(f"coarsest={coarsest} must be 1 or more, hold={hold} from 0 to below 1")

    def fn(step: Step, weight: float) -> tuple[View, View]:
        halvings = _halvings(step.real.shape[2:], coarsest)
        grown = min(max(weight, 0.0), 1.0) * halvings  # in doublings
        if grown == halvings:
            return plainly, plainly
        factor = 2 ** (halvings - int(grown))
        fade = max(0.0, (grown % 1 - hold) / (1 - hold))

        def see(x: Tensor) -> Tensor:
            now = coarse(x, factor)
            return now.lerp(coarse(x, factor // 2), fade) if fade else now

        return see, see

    return Passage("both", fn)
