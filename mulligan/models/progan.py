"""`progan`: equalised learning rate, pixel norm, and the minibatch standard deviation (Karras 2018, arXiv 1710.10196).

Written from the paper's table 2, with one difference: G's image is a sum, to which every resolution adds details that
the one before cannot represent. So the image at a lower resolution is the output of G's coarser layers only. The
`growing` term lets D see no more than that, and so the networks grow without any change to them.

Legend: B batch, C image channels, H W image size, h w the base grid.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.network import Generator
from mulligan.core.registry import discriminators, generators
from mulligan.core.sample import Sample
from mulligan.models.sizes import tapered
from mulligan.nn.equalised import EqualConv2d, EqualLinear, act
from mulligan.nn.head import normalised
from mulligan.nn.resample import coarse, enlarge, shrink
from mulligan.nn.style import HalvingDiscriminator


class Doubling(nn.Module):
    """Upsampling by 2, then two convolutions, each with pixel norm: the channels of a pixel have unit mean square."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.one, self.two = EqualConv2d(a, b, 3, padding=1), EqualConv2d(b, b, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, a, h, w) -> (B, b, 2 h, 2 w)."""
        x = normalised(act(self.one(enlarge(x, 2))))
        return normalised(act(self.two(x)))


@generators.register("progan", kinds={"image"}, takes={"class"})
class ProGANGenerator(Generator):
    """A dense layer to the base grid, then doublings, and an image to which every resolution adds its own details."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        base: PositiveInt = 512,  # channels times the shorter side of the grid, in pixels
        most: PositiveInt = 64,  # channels of a layer, at most
        z: NonNegativeInt = 64,  # noise numbers
        embed: NonNegativeInt = 64,  # numbers in the class embedding
    ) -> None:
        super().__init__()
        shape, classes = sample.shape, condition.classes
        widths = tapered("progan", shape, base, most)
        count, first = len(widths) - 1, widths[0]
        self.z_shape = (z,)
        self.base_grid = (first, shape[1] >> count, shape[2] >> count)
        self.embed = nn.Embedding(classes, embed) if classes else None
        self.dense = EqualLinear(z + (embed if classes else 0), torch.Size(self.base_grid).numel())
        self.conv = EqualConv2d(first, first, 3, padding=1)
        self.doublings = nn.ModuleList(Doubling(a, b) for a, b in pairwise(widths))
        self.to_image = EqualConv2d(first, shape[0], 1)
        self.to_details = nn.ModuleList(EqualConv2d(width, shape[0], 1, bias=False) for width in widths[1:])
        for layer in self.to_details:
            nn.init.zeros_(layer.weight)  # no details before they are learnt

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), `class` (B,) or none -> (B, C, H, W), unbounded as in the paper."""
        x = normalised(z)
        if self.embed is not None:
            x = torch.cat([x, normalised(self.embed(cond["class"]))], 1)
        x = self.dense(x).unflatten(1, self.base_grid).contiguous(memory_format=torch.channels_last)
        x = normalised(act(self.conv(normalised(act(x)))))
        image = self.to_image(x)
        for doubling, to_details in zip(self.doublings, self.to_details, strict=True):
            x = doubling(x)
            details = to_details(x)
            image = enlarge(image, 2) + details - coarse(details, 2)  # downsampled, it is the image of before
        return image


class Halving(nn.Module):
    """Two convolutions, then mean pooling by 2."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.one, self.two = EqualConv2d(a, a, 3, padding=1), EqualConv2d(a, b, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, a, h, w) -> (B, b, h / 2, w / 2)."""
        return shrink(act(self.two(act(self.one(x)))), 2)


@discriminators.register("progan", kinds={"image"}, takes={"class"})
class ProGANDiscriminator(HalvingDiscriminator):
    """Halvings, minibatch standard deviation, two dense layers; the class enters by projection."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        base: PositiveInt = 512,  # channels times the shorter side of the grid, in pixels
        most: PositiveInt = 64,  # channels of a layer, at most
        group: PositiveInt = 4,  # samples per group of the minibatch standard deviation
    ) -> None:
        super().__init__(sample, condition, tapered("progan", sample.shape, base, most)[::-1], Halving, group)
