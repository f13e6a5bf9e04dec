"""The `plain` features: the numbers themselves, for data of a few of them, such as points."""

from __future__ import annotations

from torch import Tensor, nn

from mulligan.core.errors import UserError
from mulligan.core.registry import features


class Plain(nn.Module):
    """Nothing is looked for: distances are those between samples."""

    dim = 2
    stamp = "none"
    describe = "plain: the numbers themselves"
    resizing = "none"
    block = 10_000

    def forward(self, samples: Tensor) -> Tensor:
        """(B, D) -> the same."""
        if samples.ndim != 2:
            raise UserError("the plain features are for points; for images: digits, inception, random")
        return samples


@features.register()
def plain() -> Plain:
    """The numbers themselves."""
    return Plain()
