"""Terms about D's features of samples."""

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
    """Mean squared cosine of each fake's features with those of the others (Zhao 2017, arXiv 1609.03126, eq. 4).

    The features are D's first ones, (B, E).
    """

    def fn(step: Step) -> Tensor:
        codes = F.normalize(step.on_fake.features[0].float().flatten(1))
        squares = (codes @ codes.T).square()
        return (squares.sum(1) - 1) / max(1, len(codes) - 1)  # without each one's own, which is 1

    return Penalty("g", fn)


@terms.register("feature-means")
def feature_means() -> Penalty:
    """|mean f(x) - mean f(G(z))|^2 of D's last features over a batch (Salimans 2016, arXiv 1606.03498, sec. 3.1).

    Only means over the batch count; `feature-matching` compares row by row. One number for the batch. D may be any with
    features.
    """

    def fn(step: Step) -> Tensor:
        real, fake = (each.features[-1].float().flatten(1).mean(0) for each in (step.on_real, step.on_fake))
        return (real.detach() - fake).square().sum()[None]

    return Penalty("g", fn)


@terms.register()
def reconstruction(
    *,
    error: Literal["l1", "l2"] = "l1",  # mean absolute or mean squared difference
    features: str = "",  # a feature net whose maps are compared; empty: the samples themselves are
) -> Penalty:
    """Error of a real sample as D reconstructs it from its features (Liu 2021, arXiv 2101.04775, eq. 2).

    The paper compares features of a pretrained net, which `features` names; by default none is needed. Raises UserError
    where D does not reconstruct.
    """
    net = Frozen(features) if features else None
    error_of = F.l1_loss if error == "l1" else F.mse_loss

    def fn(step: Step) -> Tensor:
        if not step.D.redraws:
            raise UserError("the reconstruction term needs a D that reconstructs samples; set discriminator=fastgan")
        errors = []
        for redrawn, target in step.D.redrawn(step.on_real.features, step.view_real(step.real).detach()):
            pairs = [(redrawn, target)]
            if net is not None:
                pairs = list(zip(*(net.to(target.device)(x) for x in (redrawn, target)), strict=True))
            errors += [error_of(a, b, reduction="none").flatten(1).mean(1) for a, b in pairs]
        return torch.stack(errors).sum(0)

    return Penalty("d", fn)
