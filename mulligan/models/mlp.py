"""`mlp`: dense layers alone, for samples of any shape, from points in a plane to pictures (Goodfellow 2014, 1406.2661).

The defaults are the paper's networks for MNIST: two layers of 1,200 rectified units in G, two of 240 maxout units of
five pieces each in D.

Legend: B batch, N numbers in a sample, K classes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import Judgement
from mulligan.core.registry import discriminators, generators
from mulligan.nn.head import ClassBy, Head


class Maxout(nn.Module):
    """The largest of several linear functions (Goodfellow 2013, arXiv 1302.4389)."""

    def __init__(self, a: int, b: int, pieces: int) -> None:
        super().__init__()
        self.linear, self.pieces = nn.Linear(a, b * pieces), pieces

    def forward(self, x: Tensor) -> Tensor:
        """(B, a) -> (B, b)."""
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)


def _told(x: Tensor, cond: Tensor | None, classes: int) -> Tensor:
    """x with the class beside it, a one among zeros (Mirza, Osindero 2014, arXiv 1411.1784)."""
    return x if cond is None else torch.cat([x, F.one_hot(cond, classes).to(x.dtype)], 1)


@generators.register("mlp")
class MLPGenerator(nn.Module):
    """Noise, and the class beside it, through rectified dense layers."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        widths: tuple[PositiveInt, ...] = (1200, 1200),  # units of the hidden layers
        z: NonNegativeInt = 100,  # noise numbers; 0: noise of the shape of a sample
        norm: Literal["none", "batch"] = "none",  # before the units of all but the first layer
        bounded: bool = True,  # by tanh, as pictures are
    ) -> None:
        super().__init__()
        self.z_shape, self.shape, self.classes, self.bounded = (z,) if z else shape, shape, classes, bounded
        layers: list[nn.Module] = []
        sizes = [torch.Size(self.z_shape).numel() + classes, *widths]
        for index, (a, b) in enumerate(pairwise(sizes)):
            layers += [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if norm == "batch" and index else []), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], torch.Size(shape).numel()))

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, *z_shape), cond (B,) class ids or None -> (B, *shape), in [-1, 1] if bounded."""
        x = self.layers(_told(z.flatten(1), cond, self.classes)).unflatten(1, self.shape)
        return x.tanh() if self.bounded else x


@discriminators.register("mlp")
class MLPDiscriminator(nn.Module):
    """The sample, and the class beside it, through maxout or leaky rectified layers."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        widths: tuple[PositiveInt, ...] = (240, 240),
        pieces: PositiveInt = 5,  # of a maxout unit; 1: leaky rectified units instead
        slope: float = 0.2,
        dropout: float = 0.0,
        class_by: Literal["input"] | ClassBy = "input",
    ) -> None:
        super().__init__()
        self.classes = classes if class_by == "input" else 0
        layers: list[nn.Module] = []
        for a, b in pairwise([torch.Size(shape).numel() + self.classes, *widths]):
            unit = [Maxout(a, b, pieces)] if pieces > 1 else [nn.Linear(a, b), nn.LeakyReLU(slope)]
            layers += [*unit, nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        last = widths[-1] if widths else torch.Size(shape).numel() + self.classes
        self.head = Head(last, 0, "projection") if class_by == "input" else Head(last, classes, class_by)

    def forward(self, x: Tensor, cond: Tensor | None) -> Judgement:
        """x (B, *shape), cond (B,) class ids or None -> one logit a sample, (B,)."""
        x = self.layers(_told(x.flatten(1), cond if self.classes else None, self.classes))
        return self.head(x, cond, [x])
