"""`progan`: layers of even learning rate, unit pixels, and a minibatch's spread (Karras 2018, arXiv 1710.10196).

Written from the paper's table 2, but that G's image is a sum: every size adds what the one before cannot hold. So an
image at a lower resolution is what G draws with its coarser layers alone, and the `growing` term, which shows D no
more than that, makes the networks grow without any change to them.

Legend: B batch, C image channels, H W image size, h w the base grid.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from mulligan.core.registry import discriminators, generators
from mulligan.models.sizes import tapered
from mulligan.nn.equalised import EqualConv2d, EqualLinear, act
from mulligan.nn.head import normalised
from mulligan.nn.resample import coarse, enlarge, shrink
from mulligan.nn.style import HalvingDiscriminator


class Doubling(nn.Module):
    """Twice the sides, then two convolutions, after each of which a pixel's channels have unit mean square."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.one, self.two = EqualConv2d(a, b, 3, padding=1), EqualConv2d(b, b, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, a, h, w) -> (B, b, 2 h, 2 w)."""
        x = normalised(act(self.one(enlarge(x, 2))))
        return normalised(act(self.two(x)))


@generators.register("progan")
class ProGANGenerator(nn.Module):
    """A dense layer to the base grid, then doublings, and an image that every size adds its own details to."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        base: PositiveInt = 512,  # channels times the side of the grid,
        most: PositiveInt = 64,  # but no more channels than this
        z: NonNegativeInt = 64,  # noise numbers
        embed: NonNegativeInt = 64,  # class embedding
    ) -> None:
        super().__init__()
        widths = tapered("progan", shape, base, most)
        count, first = len(widths) - 1, widths[0]
        self.z_shape = (z,)
        self.grid = (first, shape[1] >> count, shape[2] >> count)
        self.embed = nn.Embedding(classes, embed) if classes else None
        self.dense = EqualLinear(z + (embed if classes else 0), torch.Size(self.grid).numel())
        self.conv = EqualConv2d(first, first, 3, padding=1)
        self.doublings = nn.ModuleList(Doubling(a, b) for a, b in pairwise(widths))
        self.to_image = EqualConv2d(first, shape[0], 1)
        self.to_details = nn.ModuleList(EqualConv2d(width, shape[0], 1, bias=False) for width in widths[1:])
        for layer in self.to_details:
            nn.init.zeros_(layer.weight)  # what is not yet learnt is not yet there

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, z), cond (B,) class ids or None -> (B, C, H, W), unbounded as in the paper."""
        x = normalised(z)
        if self.embed is not None:
            assert cond is not None
            x = torch.cat([x, normalised(self.embed(cond))], 1)
        x = self.dense(x).unflatten(1, self.grid).contiguous(memory_format=torch.channels_last)
        x = normalised(act(self.conv(normalised(act(x)))))
        image = self.to_image(x)
        for doubling, to_details in zip(self.doublings, self.to_details, strict=True):
            x = doubling(x)
            details = to_details(x)
            image = enlarge(image, 2) + details - coarse(details, 2)  # shrunk again, it is what it was
        return image


class Halving(nn.Module):
    """Two convolutions, then half the sides."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.one, self.two = EqualConv2d(a, a, 3, padding=1), EqualConv2d(a, b, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, a, h, w) -> (B, b, h / 2, w / 2)."""
        return shrink(act(self.two(act(self.one(x)))), 2)


@discriminators.register("progan")
class ProGANDiscriminator(HalvingDiscriminator):
    """Halvings, how much a group of samples differs, two dense layers; by class, a projection."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        base: PositiveInt = 512,  # as of the generator
        most: PositiveInt = 64,
        group: PositiveInt = 4,  # samples whose spread D is shown together
    ) -> None:
        super().__init__(shape, classes, tapered("progan", shape, base, most)[::-1], Halving, group)
