"""Terms that compare pictures by what a net sees in them, and one about how rough they are."""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step
from mulligan.nn.frozen import Frozen


@terms.register("feature-matching")
def feature_matching() -> Penalty:
    """Mean |f(x) - f(G(z))| of what D sees on its way, over its layers (Wang 2018, arXiv 1711.11585, eq. 4)."""

    def fn(step: Step) -> Tensor:
        pairs = list(zip(step.on_real.features, step.on_fake.features, strict=True))
        apart = [(real.detach() - fake).flatten(1).abs().mean(1) for real, fake in pairs]
        return torch.stack(apart).mean(0)

    return Penalty("g", fn, paired=True)


@terms.register()
def perceptual(
    *,
    features: str = "random",  # a feature net with maps
) -> Penalty:
    """Mean |f(x) - f(G(z))| of what a frozen net sees, over its maps (Johnson 2016, arXiv 1603.08155, eq. 2).

    The paper squares; the first power is kinder to what is far off. Raises UserError for a net without maps.
    """
    seen = Frozen(features)

    def fn(step: Step) -> Tensor:
        seen.to(step.fake.device)
        with torch.no_grad():
            wanted = seen(step.real)
        apart = [(a - b).flatten(1).abs().mean(1) for a, b in zip(wanted, seen(step.fake), strict=True)]
        return torch.stack(apart).mean(0)

    return Penalty("g", fn, paired=True)


@terms.register("total-variation")
def total_variation() -> Penalty:
    """Mean |difference| of neighbours along each axis: smooth pictures have little (Rudin 1992, Physica D 60)."""

    def fn(step: Step) -> Tensor:
        x = step.fake
        return torch.stack([x.diff(dim=axis).flatten(1).abs().mean(1) for axis in range(2, x.ndim)]).sum(0)

    return Penalty("g", fn)
