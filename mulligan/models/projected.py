"""`projected`: D judges randomly mixed feature maps of a frozen net (Sauer 2021, arXiv 2111.01007).

The maps are mixed across their channels by a random 1x1 convolution, and across scales by random 3x3 ones, from coarse
to fine (sec. 3.2), so that no head can rely on the obvious features of a single map. There is a small head for each.

Legend: B batch, C image channels, H W image size, K classes.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.network import Discriminator
from mulligan.core.registry import discriminators
from mulligan.core.sample import Sample
from mulligan.core.seeding import generator_at
from mulligan.nn.frozen import Frozen
from mulligan.nn.patch_head import PatchHead

DIGITS = (1, 28, 28)
MIN_SIDE = 4  # positions of a side that a head judges, at least


class Mixing(nn.Module):
    """Random convolutions that are never trained: of each map by itself, then with all coarser ones.

    Weights depend on their position alone, so they are not saved.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        for level, width in enumerate(widths):
            self._draw(f"within{level}", width, width, 1, level)
        for level, (fine, coarse) in enumerate(pairwise(widths)):
            self._draw(f"from_coarser{level}", fine, coarse, 3, level)
        self.levels = len(widths)

    def _draw(self, name: str, outputs: int, inputs: int, kernel: int, level: int) -> None:
        """He 2015's variance; uniform, because uniform draws are the same on any machine."""
        drawn = torch.rand(outputs, inputs, kernel, kernel, generator=generator_at("projection", kernel, level))
        bound = math.sqrt(3 / (inputs * kernel**2))  # there is no ReLU: the variance is kept
        self.register_buffer(name, (drawn * 2 - 1) * bound, persistent=False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (B, ., h, w), fine to coarse -> the same shapes."""
        mixed: list[Tensor] = []
        for level in reversed(range(self.levels)):
            y = F.conv2d(maps[level], getattr(self, f"within{level}"))
            if mixed:
                coarse = F.conv2d(mixed[0], getattr(self, f"from_coarser{level}"), padding=1)
                size = y.shape[2:]
                y = (y + F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)) / math.sqrt(2)
            mixed.insert(0, y)
        return mixed


class MapHead(nn.Module):
    """Strided convolutions with spectral norm while the grid is large, then a logit a position."""

    def __init__(self, inputs: int, side: int, width: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        while side >= 3 * MIN_SIDE:
            layers += [spectral_norm(nn.Conv2d(inputs, width, 4, 2, padding=1)), nn.LeakyReLU(0.2, inplace=True)]
            inputs, side = width, side // 2
        layers += [spectral_norm(nn.Conv2d(inputs, width, 3, padding=1)), nn.LeakyReLU(0.2, inplace=True)]
        self.layers, self.head = nn.Sequential(*layers), PatchHead(width, min(MIN_SIDE, side), classes)
        spectral_norm(self.head.logit)

    def forward(self, x: Tensor, ids: Tensor | None) -> Tensor:
        """x (B, ., h, w), class ids (B,) or None -> (B, p, q)."""
        return self.head(self.layers(x), ids)


@discriminators.register("projected", kinds={"image"}, takes={"class"})
class ProjectedDiscriminator(Discriminator):
    """One head for each map of a frozen feature net."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        features: str = "auto",  # a feature net with maps; auto: digits for 28x28 grey images, random for others
        mixed: bool = True,  # maps are mixed across channels and scales
        width: PositiveInt = 64,  # channels of the heads
    ) -> None:
        super().__init__()
        if features == "auto":
            features = "digits" if sample.shape == DIGITS else "random"
        self.frozen = Frozen(features)
        with torch.no_grad():
            maps = self.frozen(torch.zeros(1, *sample.shape))
        self.mixing = Mixing([each.shape[1] for each in maps]) if mixed else nn.Identity()
        self.heads = nn.ModuleList(MapHead(each.shape[1], each.shape[2], width, condition.classes) for each in maps)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W) -> as many logits as there are maps, each (B, p, q)."""
        maps, ids = self.mixing(self.frozen(x)), cond.get("class")
        return Judgement([head(each, ids) for head, each in zip(self.heads, maps, strict=True)], maps)
