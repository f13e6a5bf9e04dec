"""A network for each of two ways: from a to b, and from b to a (Zhu 2017, arXiv 1703.10593, sec. 3).

Legend: B batch, C image channels, S channels that are shown, the last of them the side; H W image size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mulligan.core.batch import Judgement


class BothWays(nn.Module):
    """Two alike networks, of which a row takes the one for its side: `nets[0]` to b, `nets[1]` to a."""

    sides = True  # for terms that go the way back

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def parted(self, cond: Tensor | None) -> tuple[list[tuple[nn.Module, Tensor]], Tensor]:
        """cond (B, S, H, W) -> networks with the rows that are theirs, and where each row then stands."""
        assert cond is not None
        side = cond[:, -1].flatten(1)[:, 0] > 0.5
        rows = [(~side).nonzero()[:, 0], side.nonzero()[:, 0]]
        taken = [(net, some) for net, some in zip(self.nets, rows, strict=True) if len(some)]
        return taken, torch.cat(rows).argsort()


class BothGenerators(BothWays):
    """Each knows nothing of sides."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__(nets)
        self.z_shape, self.step = nets[0].z_shape, getattr(nets[0], "step", 1)

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, z), cond (B, S, H, W) -> (B, C, H, W)."""
        taken, places = self.parted(cond)
        assert cond is not None
        return torch.cat([net(z[rows], cond[rows, :-1]) for net, rows in taken])[places]


class BothDiscriminators(BothWays):
    """Each judges images of one side alone."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__(nets)
        self.alone = getattr(nets[0], "alone", False)

    def forward(self, x: Tensor, cond: Tensor | None) -> Judgement:
        """x (B, C, H, W), cond (B, S, H, W) -> logits and features as of one network."""
        taken, places = self.parted(cond)
        assert cond is not None
        said = [net(x[rows], cond[rows, :-1]) for net, rows in taken]
        logits, features = (
            [torch.cat(parts)[places] for parts in zip(*each, strict=True)]
            for each in ([one.logits for one in said], [one.features for one in said])
        )
        return Judgement(logits, features)
