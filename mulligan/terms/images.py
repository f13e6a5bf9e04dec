"""Terms that compare a generated sample with a target, number by number."""

from __future__ import annotations

from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step


@terms.register()
def l1() -> Penalty:
    """Mean |G(z) - x|: keeps G near the real sample of its row (Isola 2017, arXiv 1611.07004, eq. 3)."""
    return Penalty("g", lambda step: (step.fake - step.real).flatten(1).abs().mean(1), paired=True)


@terms.register()
def mse() -> Penalty:
    """Mean squared error ||G(z) - x||^2 / size of x."""
    return Penalty("g", lambda step: (step.fake - step.real).flatten(1).square().mean(1), paired=True)


@terms.register()
def transport() -> Penalty:
    """Mean (G(z) - z)^2: prefers, of all maps from noise to samples, the one that moves least (Lin 2025, 2511.22475).

    Raises UserError where noise and samples differ in shape.
    """

    def fn(step: Step) -> Tensor:
        if step.z.shape != step.fake.shape:
            raise UserError(
                f"the transport term needs noise of the samples' shape, not {tuple(step.z.shape[1:])} for "
                f"{tuple(step.fake.shape[1:])}; set generator=dit, or with generator=mlp generator.z=0"
            )
        return (step.fake - step.z).flatten(1).square().mean(1)

    return Penalty("g", fn)
