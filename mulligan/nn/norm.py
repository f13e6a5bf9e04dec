"""Normalisation that the class has a say in.

Legend: B batch, C channels, K classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from mulligan.core.batch import append_dims


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm of data of any rank: (B, C, *space)."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Torch's own classes each take one rank."""


class ConditionalBatchNorm(nn.Module):
    """Batch norm with a scale and a shift for every class (Dumoulin 2017, arXiv 1610.07629; Miyato 2018)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels, affine=False)
        self.scale, self.shift = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """x (B, C, *space), cond (B,) class ids -> (B, C, *space)."""
        return self.norm(x) * append_dims(self.scale(cond), x.ndim) + append_dims(self.shift(cond), x.ndim)


class VectorBatchNorm(nn.Module):
    """Batch norm whose scale and shift are linear in a vector, of noise and class (Brock 2019, 1809.11096, app. B)."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels, affine=False)
        self.scale, self.shift = (nn.Linear(size, channels, bias=False) for _ in range(2))

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x (B, C, *space), vector (B, size) -> (B, C, *space)."""
        return self.norm(x) * (1 + append_dims(self.scale(vector), x.ndim)) + append_dims(self.shift(vector), x.ndim)
