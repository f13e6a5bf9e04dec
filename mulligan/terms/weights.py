"""Terms about the players' weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mulligan.core.registry import terms
from mulligan.core.step import Constraint, Penalty, Step


@terms.register()
def orthogonal() -> Penalty:
    """Squared inner products of different rows of each weight matrix of G (Brock 2019, arXiv 1809.11096, eq. 3).

    The lengths of the rows are free: only their directions count.
    """

    def fn(step: Step) -> Tensor:
        squares = []
        for layer in step.G.modules():
            if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
                rows = layer.weight.float().flatten(1)
                products = rows @ rows.T
                squares.append((products - products.diag().diag()).square().sum())
        return torch.stack(squares).sum()[None]

    return Penalty("g", fn)


@terms.register()
def clip() -> Constraint:
    """D's weights clamped to [-weight, weight] after its step (Arjovsky 2017, arXiv 1701.07875, alg. 1)."""

    @torch.no_grad()
    def fn(step: Step, weight: float) -> None:
        for parameter in step.D.parameters():
            parameter.clamp_(-weight, weight)

    return Constraint("d", fn)
