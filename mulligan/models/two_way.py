"""Two networks, one for each direction: from a to b, and from b to a (Zhu 2017, arXiv 1703.10593, sec. 3).

The condition's `side` says, for each row, which of the two it goes to. The networks themselves know nothing of sides.

Legend: B batch, C image channels, H W image size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition
from mulligan.core.network import Discriminator, Generator


class TwoWay(nn.Module):
    """Two networks of one architecture: `nets[0]` for rows of side 0 (to b), `nets[1]` for rows of side 1 (to a)."""

    two_way = True

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def route(self, cond: Condition) -> tuple[list[tuple[nn.Module, Tensor, Condition]], Tensor]:
        """Each network with the indices of its rows and their condition; and the order that restores the batch.

        A network without rows is left out.
        """
        side, rest = cond["side"], cond.without("side")
        rows = [(side == which).nonzero()[:, 0] for which in (0, 1)]
        routed = [(net, own, rest.take(own)) for net, own in zip(self.nets, rows, strict=True) if len(own)]
        return routed, torch.cat(rows).argsort()


class TwoWayGenerator(TwoWay, Generator):
    """Both directions of a generator."""

    def __init__(self, nets: Sequence[Generator]) -> None:
        super().__init__(nets)
        self.z_shape, self.grid = nets[0].z_shape, nets[0].grid

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), side (B,) among the conditions -> (B, C, H, W)."""
        routed, order = self.route(cond)
        return torch.cat([net(z[rows], own) for net, rows, own in routed])[order]


class TwoWayDiscriminator(TwoWay, Discriminator):
    """Each network judges images of one side alone."""

    def __init__(self, nets: Sequence[Discriminator]) -> None:
        super().__init__(nets)
        self.unconditional = nets[0].unconditional

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W), side (B,) among the conditions -> logits and features as of one network."""
        routed, order = self.route(cond)
        judgements = [net(x[rows], own) for net, rows, own in routed]
        logits, features = (
            [torch.cat(parts)[order] for parts in zip(*each, strict=True)]
            for each in ([one.logits for one in judgements], [one.features for one in judgements])
        )
        return Judgement(logits, features)
