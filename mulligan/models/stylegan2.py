"""`stylegan2`: a mapping from noise to styles, and styles that modulate every layer (Karras 2020, arXiv 1912.04958).

Written from the paper: configuration F, that is weight demodulation, a generator with skip connections, a residual
discriminator, and no progressive growing.

Legend: B batch, C image channels, H W image size, h w the base grid, S numbers of a style, L layers that take one.
"""

from __future__ import annotations

import math
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
from mulligan.nn.resample import fir
from mulligan.nn.style import HalvingDiscriminator, StyledLayer, ToImage


class Mapping(nn.Module):
    """Noise, and the class embedding, both normalised to unit mean square, through dense layers to a style."""

    def __init__(self, z: int, classes: int, styles: int, layers: int, rate: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, styles) if classes else None
        widths = [z + (styles if classes else 0), *[styles] * layers]
        self.layers = nn.ModuleList(EqualLinear(a, b, rate=rate) for a, b in pairwise(widths))

    def forward(self, z: Tensor, ids: Tensor | None) -> Tensor:
        """z (B, z), class ids (B,) or None -> (B, S)."""
        x = normalised(z)
        if self.embed is not None:
            assert ids is not None
            x = torch.cat([x, normalised(self.embed(ids))], 1)
        for layer in self.layers:
            x = act(layer(x))
        return x


class Synthesis(nn.Module):
    """A learned base grid, styled layers, and an image to which every resolution adds."""

    def __init__(self, shape: tuple[int, ...], widths: list[int], styles: int) -> None:
        super().__init__()
        count = len(widths) - 1
        grids = [(shape[1] >> i, shape[2] >> i) for i in reversed(range(count + 1))]
        self.base = nn.Parameter(torch.randn(widths[0], *grids[0]))
        self.first = StyledLayer(widths[0], widths[0], grids[0], styles)
        self.layers = nn.ModuleList()
        for (a, b), grid in zip(pairwise(widths), grids[1:], strict=True):
            self.layers += [StyledLayer(a, b, grid, styles, up=True), StyledLayer(b, b, grid, styles)]
        self.to_image = nn.ModuleList(ToImage(width, shape[0], styles) for width in widths)
        self.count = 2 * count + 2  # L: the first layer, two per doubling, and the last image

    def forward(self, ws: Tensor) -> Tensor:
        """ws (B, L, S), a style for each layer -> (B, C, H, W), unbounded as in the paper."""
        x = self.base.expand(len(ws), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.first(x, ws[:, 0])
        image = self.to_image[0](x, ws[:, 1])
        for index, to_image in enumerate(list(self.to_image)[1:]):
            one, two = self.layers[2 * index], self.layers[2 * index + 1]
            x = two(one(x, ws[:, 2 * index + 1]), ws[:, 2 * index + 2])
            image = _doubled(image) + to_image(x, ws[:, 2 * index + 3])
        return image


def _doubled(x: Tensor) -> Tensor:
    """Upsampling by 2: zeros between the pixels, then a smoothing filter."""
    wide = torch.zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3], dtype=x.dtype, device=x.device)
    wide[:, :, ::2, ::2] = x
    return fir(wide, before=2, after=1, gain=4.0)


@generators.register("stylegan2", kinds={"image"}, takes={"class"})
class StyleGAN2Generator(Generator):
    """`mapping` and `synthesis`. In training, the later layers of some images use a style of other noise (mixing)."""

    has_styles = True

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        base: PositiveInt = 512,  # channels times the shorter side of the grid, in pixels
        most: PositiveInt = 64,  # channels of a layer, at most
        z: NonNegativeInt = 64,  # noise numbers
        styles: PositiveInt = 64,  # S, numbers in a style
        layers: NonNegativeInt = 8,  # dense layers of the mapping
        rate: float = 0.01,  # learning rate of the mapping divided by that of the other layers
        mixing: float = 0.9,  # share of images whose styles are mixed in training, in [0, 1]
    ) -> None:
        super().__init__()
        self.z_shape, self.mixing = (z,), mixing
        self.mapping = Mapping(z, condition.classes, styles, layers, rate)
        self.synthesis = Synthesis(sample.shape, tapered("stylegan2", sample.shape, base, most), styles)

    def styled(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), `class` (B,) or none -> a style for each layer, (B, L, S)."""
        count, ids = self.synthesis.count, cond.get("class")
        w = self.mapping(z, ids)[:, None].expand(-1, count, -1)
        if not (self.training and self.mixing):
            return w
        other = self.mapping(torch.randn_like(z), ids)[:, None]
        first = torch.randint(1, count, (len(z), 1), device=z.device)
        mixed = torch.rand(len(z), 1, device=z.device) < self.mixing
        later = (torch.arange(count, device=z.device) >= first) & mixed  # (B, L)
        return torch.where(later[:, :, None], other, w)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), `class` (B,) or none -> (B, C, H, W), unbounded."""
        return self.synthesis(self.styled(z, cond))


class Halving(nn.Module):
    """Two convolutions, the second with stride 2, plus a 1x1 convolution of the input; the sum has unit variance."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.one = EqualConv2d(a, a, 3, padding=1)
        self.two = EqualConv2d(a, b, 3, stride=2)
        self.beside = EqualConv2d(a, b, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, a, h, w) -> (B, b, h / 2, w / 2)."""
        y = act(self.two(fir(act(self.one(x)), before=2, after=2)))
        return (y + self.beside(fir(x, before=1, after=1, stride=2))) / math.sqrt(2)


@discriminators.register("stylegan2", kinds={"image"}, takes={"class"})
class StyleGAN2Discriminator(HalvingDiscriminator):
    """Residual halvings, minibatch standard deviation, a dense layer; the class enters by projection."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        base: PositiveInt = 512,  # channels times the shorter side of the grid, in pixels
        most: PositiveInt = 64,  # channels of a layer, at most
        group: PositiveInt = 4,  # samples per group of the minibatch standard deviation
    ) -> None:
        super().__init__(sample, condition, tapered("stylegan2", sample.shape, base, most)[::-1], Halving, group)
