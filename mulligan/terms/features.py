"""Terms about what D sees in images, before it judges them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step


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
