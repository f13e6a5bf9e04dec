"""The `plain` features: the numbers of a sample themselves, for data of few numbers, such as points or table rows."""

from __future__ import annotations

from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.registry import features
from mulligan.metrics.features.net import FeatureNet

MOST = 4_096  # numbers of a sample: distances need a covariance matrix of that many rows


class Plain(FeatureNet):
    """No weights: distances of features are distances of samples."""

    stamp = "none"
    describe = "plain: the numbers themselves"
    block = 10_000

    def forward(self, samples: Tensor) -> Tensor:
        """(B, ...) -> (B, numbers of a sample). Raises UserError for more than `MOST` of them."""
        flat = samples.flatten(1)
        if flat.shape[1] > MOST:
            others = ", ".join(name for name in features if name != "plain")
            raise UserError(
                f"feature net 'plain' takes samples of at most {MOST:,} numbers, and these have {flat.shape[1]:,}; "
                f"other feature nets: {others}"
            )
        return flat


@features.register()
def plain() -> Plain:
    """The numbers of a sample themselves, at most 4,096."""
    return Plain()
