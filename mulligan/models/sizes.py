"""Which image sizes a family of networks supports.

Legend: C channels, H W image size; a shape is (C, H, W).
"""

from __future__ import annotations

from mulligan.core.errors import UserError


def _halvings_wanted(height: int, width: int) -> int:
    """Halvings that bring the shorter side to between 4 and 7."""
    return max(1, (min(height, width) // 4).bit_length() - 1)


def halvings(family: str, shape: tuple[int, ...]) -> int:
    """How often (H, W) is halved to reach a base grid whose shorter side is 4 to 7.

    Raises UserError for sizes that cannot be halved that often, naming a near one that can.
    """
    _, height, width = shape
    near = height, width
    while min(near) < 8 or any(side % 2 ** _halvings_wanted(*near) for side in near):
        step = 2 ** _halvings_wanted(*near)
        near = max(8, round(near[0] / step) * step), max(8, round(near[1] / step) * step)
    if near != (height, width):
        raise UserError(
            f"{family} networks halve both sides down to a shorter one of 4 to 7, not possible from {height}x{width}; "
            f"try --size {near[0]}x{near[1]}"
        )
    return _halvings_wanted(height, width)


def tapered(family: str, shape: tuple[int, ...], base: int, most: int) -> list[int]:
    """Channels of each resolution from the base grid up: `base` divided by the shorter side, at most `most`."""
    count = halvings(family, shape)
    return [min(max(1, base // (min(shape[1:]) >> i)), most) for i in reversed(range(count + 1))]


def base_grid(family: str, shape: tuple[int, ...], count: int) -> tuple[int, int]:
    """(H, W) halved `count` times, for networks with a fixed number of stages.

    Raises UserError for sizes that cannot be halved that often, naming a near one that can.
    """
    _, height, width = shape
    step = 2**count
    if height % step or width % step:
        near = "x".join(str(max(step, round(side / step) * step)) for side in (height, width))
        raise UserError(
            f"{family}: {count + 1} stages need sides that are multiples of {step}, not {height}x{width}; "
            f"try --size {near}"
        )
    return height // step, width // step


def patches(family: str, shape: tuple[int, ...], patch: int) -> tuple[int, int]:
    """The grid of patches that (H, W) is divided into.

    Raises UserError for sizes that are no multiple of the patch, naming a near one that is, and patches that fit.
    """
    _, height, width = shape
    if patch < 1 or height % patch or width % patch:
        near = " or ".join(str(p) for p in (8, 4, 2, 1) if not (height % p or width % p))
        size = "" if patch < 1 else "--size {}x{}, or ".format(*(max(1, round(s / patch)) * patch for s in shape[1:]))
        raise UserError(
            f"{family}: patches of {patch}x{patch} do not fill {height}x{width}; try {size}generator.patch and "
            f"discriminator.patch of {near}"
        )
    return height // patch, width // patch
