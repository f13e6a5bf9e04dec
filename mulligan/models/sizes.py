"""Which image sizes a family of halvings serves."""

from __future__ import annotations

from mulligan.core.errors import UserError


def halvings(family: str, shape: tuple[int, ...]) -> int:
    """How often (H, W) is halved to reach a base grid whose shorter side is 4 to 7.

    Raises UserError for sizes that cannot be halved that often, naming a near one that can.
    """
    *_, height, width = shape
    count = max(1, (min(height, width) // 4).bit_length() - 1)
    if len(shape) != 3 or min(height, width) < 8 or height % 2**count or width % 2**count:
        step = 2**count
        near = "x".join(str(max(8, round(side / step) * step)) for side in (height, width))
        raise UserError(
            f"{family} networks serve sides of at least 8 that are multiples of {step} at this size, "
            f"not {height}x{width}; try --size {near}"
        )
    return count
