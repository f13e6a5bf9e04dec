"""Terms about what D sees in images, before it judges them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step
from mulligan.nn.frozen import Frozen


@terms.register("pull-away")
def pull_away() -> Penalty:
    """How alike the codes of different fakes are: squared cosines (Zhao 2017, arXiv 1609.03126, eq. 4).

    Of the first features of D, (B, E).
    """

    def fn(step: Step) -> Tensor:
        codes = F.normalize(step.on_fake.features[0].float().flatten(1))
        alike = (codes @ codes.T).square()
        return (alike.sum(1) - 1) / max(1, len(codes) - 1)  # each with itself is 1

    return Penalty("g", fn)


@terms.register("feature-means")
def feature_means() -> Penalty:
    """|mean f(x) - mean f(G(z))|^2 of what D sees last of a batch (Salimans 2016, arXiv 1606.03498, sec. 3.1).

    G's batch is to be like the reals on average: nothing is held against the picture at its place, as
    `feature-matching` does. A number for the batch; D may be any with features.
    """

    def fn(step: Step) -> Tensor:
        real, fake = (each.features[-1].float().flatten(1).mean(0) for each in (step.on_real, step.on_fake))
        return (real.detach() - fake).square().sum()[None]

    return Penalty("g", fn)


@terms.register()
def reconstruction(
    *,
    error: Literal["l1", "l2"] = "l1",  # per number of the image
    features: str = "",  # a feature net with maps, by which images are compared instead of by their numbers
) -> Penalty:
    """How far what D can draw of a real image is from it (Liu 2021, arXiv 2101.04775, eq. 2).

    The paper compares what a pretrained net sees in both: `features` names such a net, and by default none is needed.
    Raises UserError where D does not draw.
    """
    seen = Frozen(features) if features else None
    apart = F.l1_loss if error == "l1" else F.mse_loss

    def fn(step: Step) -> Tensor:
        if not hasattr(step.D, "redrawn"):
            raise UserError("the reconstruction term needs a D that draws what it saw; set discriminator=fastgan")
        distances = []
        for drawn, wanted in step.D.redrawn(step.on_real.features, step.view_real(step.real).detach()):
            pairs = [(drawn, wanted)]
            if seen is not None:
                pairs = list(zip(*(seen.to(wanted.device)(x) for x in (drawn, wanted)), strict=True))
            distances += [apart(a, b, reduction="none").flatten(1).mean(1) for a, b in pairs]
        return torch.stack(distances).sum(0)

    return Penalty("d", fn)
