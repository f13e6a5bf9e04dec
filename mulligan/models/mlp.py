"""`mlp`: dense layers only, for samples of any kind and shape (Goodfellow 2014, arXiv 1406.2661).

The defaults are the paper's networks for MNIST: two layers of 1,200 ReLU units in G, two layers of 240 maxout units
with five pieces each in D.

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
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import discriminators, generators
from mulligan.core.sample import Sample
from mulligan.nn.head import ClassBy, Head


class Maxout(nn.Module):
    """The largest of several linear functions (Goodfellow 2013, arXiv 1302.4389)."""

    def __init__(self, a: int, b: int, pieces: int) -> None:
        super().__init__()
        self.linear, self.pieces = nn.Linear(a, b * pieces), pieces

    def forward(self, x: Tensor) -> Tensor:
        """(B, a) -> (B, b)."""
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)


def _with_class(x: Tensor, cond: Condition, classes: int) -> Tensor:
    """x (B, a) -> (B, a + K): the class is appended as a one-hot vector (Mirza, Osindero 2014, arXiv 1411.1784)."""
    return torch.cat([x, F.one_hot(cond["class"], classes).to(x.dtype)], 1) if classes else x


@generators.register("mlp", takes={"class"})
class MLPGenerator(Generator):
    """Noise, and the class as a one-hot vector, through dense layers with ReLU."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        widths: tuple[PositiveInt, ...] = (1200, 1200),  # units of the hidden layers
        z: NonNegativeInt = 100,  # noise numbers; 0: noise of the shape of a sample
        norm: Literal["none", "batch"] = "none",  # before the activation of all but the first layer
        bounded: bool = True,  # output in [-1, 1] by tanh, as for images
    ) -> None:
        super().__init__()
        self.shape, self.classes, self.bounded = sample.shape, condition.classes, bounded
        self.z_shape = (z,) if z else self.shape
        layers: list[nn.Module] = []
        sizes = [torch.Size(self.z_shape).numel() + self.classes, *widths]
        for index, (a, b) in enumerate(pairwise(sizes)):
            layers += [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if norm == "batch" and index else []), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], torch.Size(self.shape).numel()))

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, *z_shape), `class` (B,) or none -> (B, *shape), in [-1, 1] if bounded."""
        x = self.layers(_with_class(z.flatten(1), cond, self.classes)).unflatten(1, self.shape)
        return x.tanh() if self.bounded else x


@discriminators.register("mlp", takes={"class"})
class MLPDiscriminator(Discriminator):
    """The sample, and the class as a one-hot vector, through maxout or leaky ReLU layers."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        widths: tuple[PositiveInt, ...] = (240, 240),  # units of the hidden layers
        pieces: PositiveInt = 5,  # linear functions per maxout unit; 1: leaky ReLU units instead
        slope: float = 0.2,  # of the leaky ReLU below zero, if pieces=1
        dropout: float = 0.0,  # probability that a hidden unit is dropped, in [0, 1]
        class_by: Literal["input"] | ClassBy = "input",  # how D uses the class: one-hot with the input, or in its head
    ) -> None:
        super().__init__()
        numbers = torch.Size(sample.shape).numel()
        self.classes = condition.classes if class_by == "input" else 0
        layers: list[nn.Module] = []
        for a, b in pairwise([numbers + self.classes, *widths]):
            unit = [Maxout(a, b, pieces)] if pieces > 1 else [nn.Linear(a, b), nn.LeakyReLU(slope)]
            layers += [*unit, nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        last = widths[-1] if widths else numbers + self.classes
        self.head = Head(last, 0) if class_by == "input" else Head(last, condition.classes, class_by)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, *shape), `class` (B,) or none -> one logit per sample, (B,)."""
        x = self.layers(_with_class(x.flatten(1), cond, self.classes))
        return self.head(x, cond.get("class"), [x])
