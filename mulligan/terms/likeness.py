"""Terms that compare a sample with its target by features, and one about smoothness."""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step
from mulligan.nn.frozen import Frozen


@terms.register("feature-matching")
def feature_matching() -> Penalty:
    """Mean |f(x) - f(G(z))| of D's features, averaged over its layers (Wang 2018, arXiv 1711.11585, eq. 4)."""

    def fn(step: Step) -> Tensor:
        pairs = list(zip(step.on_real.features, step.on_fake.features, strict=True))
        distances = [(real.detach() - fake).flatten(1).abs().mean(1) for real, fake in pairs]
        return torch.stack(distances).mean(0)

    return Penalty("g", fn, paired=True)


@terms.register(kinds={"image"})
def perceptual(
    *,
    features: str = "random",  # a feature net with maps
) -> Penalty:
    """Mean |f(x) - f(G(z))| of a frozen net's features, averaged over its maps (Johnson 2016, 1603.08155, eq. 2).

    The paper squares; the first power is less affected by outliers. Raises UserError for a net without maps.
    """
    net = Frozen(features)

    def fn(step: Step) -> Tensor:
        net.to(step.fake.device)
        with torch.no_grad():
            targets = net(step.real)
        distances = [(a - b).flatten(1).abs().mean(1) for a, b in zip(targets, net(step.fake), strict=True)]
        return torch.stack(distances).mean(0)

    return Penalty("g", fn, paired=True)


@terms.register("total-variation")
def total_variation() -> Penalty:
    """Mean |difference| of neighbours along each axis of space: small for smooth samples (Rudin 1992, Physica D 60)."""

    def fn(step: Step) -> Tensor:
        x = step.fake
        differences = [x.diff(dim=axis).flatten(1).abs().mean(1) for axis in range(2, x.ndim)]
        return torch.stack(differences).sum(0) if differences else x.new_zeros(len(x))

    return Penalty("g", fn)
