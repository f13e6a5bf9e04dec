"""Normalisation whose scale and shift depend on a class or a vector.

Legend: B batch, C channels, K classes, `*space` any number of spatial axes.
"""

from __future__ import annotations

from torch import Tensor, nn

from mulligan.core.batch import append_dims


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm of data of any rank: (B, C, *space)."""

    def _check_input_dim(self, input: Tensor) -> None:
        """No check: torch's own classes accept one rank each."""


class ConditionalBatchNorm(nn.Module):
    """Batch norm with a scale and a shift for every class (Dumoulin 2017, arXiv 1610.07629; Miyato 2018)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels, affine=False)
        self.scale, self.shift = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        """x (B, C, *space), class ids (B,) -> (B, C, *space)."""
        return self.norm(x) * append_dims(self.scale(ids), x.ndim) + append_dims(self.shift(ids), x.ndim)


class VectorBatchNorm(nn.Module):
    """Batch norm with scale and shift linear in a vector of noise and class (Brock 2019, arXiv 1809.11096, app. B)."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels, affine=False)
        self.scale, self.shift = (nn.Linear(size, channels, bias=False) for _ in range(2))

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x (B, C, *space), vector (B, size) -> (B, C, *space)."""
        return self.norm(x) * (1 + append_dims(self.scale(vector), x.ndim)) + append_dims(self.shift(vector), x.ndim)


class AdaptiveInstanceNorm(nn.Module):
    """AdaIN: instance norm with scale and shift linear in a vector.

    Huang, Belongie 2017 (arXiv 1703.06868, eq. 8); from a style, Karras 2019 (arXiv 1812.04948, eq. 1). A channel of a
    single position has no deviation: it becomes its shift.
    """

    def __init__(self, channels: int, size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.scale, self.shift = (nn.Linear(size, channels, bias=False) for _ in range(2))
        self.eps = eps

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x (B, C, *space), vector (B, size) -> (B, C, *space)."""
        y = x.float().flatten(2)
        y = (y - y.mean(2, keepdim=True)) * (y.var(2, correction=0, keepdim=True) + self.eps).rsqrt()
        y = y.view_as(x).to(x.dtype)
        return y * (1 + append_dims(self.scale(vector), x.ndim)) + append_dims(self.shift(vector), x.ndim)
