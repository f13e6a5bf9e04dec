"""Terms that compare what G made with what it was to make."""

from __future__ import annotations

from mulligan.core.registry import terms
from mulligan.core.step import Penalty


@terms.register()
def l1() -> Penalty:
    """Mean |G(z) - x|: keeps G near the image it was paired with (Isola 2017, arXiv 1611.07004, eq. 3)."""
    return Penalty("g", lambda step: (step.fake - step.real).flatten(1).abs().mean(1))


@terms.register()
def mse() -> Penalty:
    """Mean squared error ||G(z) - x||^2 / size of x."""
    return Penalty("g", lambda step: (step.fake - step.real).flatten(1).square().mean(1))
