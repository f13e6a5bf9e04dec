"""`resnet`: the residual networks of SNGAN, SAGAN and BigGAN, which differ by options.

Miyato 2018 (arXiv 1802.05957) set the blocks, Zhang 2019 (1805.08318) added attention and spectral norm in G, Brock
2019 (1809.11096) an embedding that all norms share, noise at every block, and orthogonal weights to begin with.
Written from the papers.

Legend: B batch, C image channels, H W image size, h w a grid, K classes, V numbers that a norm is told.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from mulligan.core.batch import Judgement
from mulligan.core.errors import UserError
from mulligan.core.registry import discriminators, generators
from mulligan.models.sizes import base_grid, halvings
from mulligan.nn.attention import SelfAttention
from mulligan.nn.head import ClassBy, Head
from mulligan.nn.norm import AdaptiveInstanceNorm, BatchNorm, ConditionalBatchNorm, VectorBatchNorm
from mulligan.nn.resample import enlarge

Init = Literal["xavier", "orthogonal"]
# plain; a scale and shift by class; both linear in class and noise; the same of each sample by itself
Norm = Literal["batch", "class", "vector", "adain"]
BY_VECTOR = {"vector": VectorBatchNorm, "adain": AdaptiveInstanceNorm}
EPS = 1e-6  # under which no singular value is taken to be
SMALL = 3  # halvings up to which all stages are as wide: the papers' networks for 32x32


def initialised(net: nn.Module, init: Init, spectral: bool) -> None:
    """Initial weights of all layers; then the spectral norm, which reads them, also of D's tables of classes."""
    for layer in [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]:
        nn.init.orthogonal_(layer.weight) if init == "orthogonal" else nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if spectral:
            spectral_norm(layer, eps=EPS)
    for head in [module for module in net.modules() if isinstance(module, Head)]:
        for table in (head.embed, head.proxies):
            if spectral and table is not None:
                spectral_norm(table, eps=EPS)


class Up(nn.Module):
    """norm, act, twice the side, conv, norm, act, conv; beside it a 1x1 convolution of the enlarged input."""

    def __init__(self, a: int, b: int, norms: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norms)
        self.first, self.second = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)
        self.beside = nn.Conv2d(a, b, 1)

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        """(B, a, h, w) -> (B, b, 2 h, 2 w)."""
        y = self.first(enlarge(F.relu(told_norm(self.norms[0], x, told)), 2))
        y = self.second(F.relu(told_norm(self.norms[1], y, told)))
        return y + enlarge(self.beside(x), 2)  # a 1x1 convolution may as well come before the enlarging


def told_norm(norm: nn.Module, x: Tensor, told: Tensor | None) -> Tensor:
    return norm(x) if told is None else norm(x, told)


@generators.register("resnet")
class ResNetGenerator(nn.Module):
    """A dense layer to the base grid, an `Up` for each doubling, one more norm, and a convolution to the image."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: PositiveInt = 16,  # unit of channels: stages have 4; above 32x32 16, 16, 8, 4, 2, 1 from the base up
        widths: tuple[PositiveInt, ...] = (),  # of the base grid and of what each block gives, instead of `width`
        z: NonNegativeInt = 128,  # noise numbers
        norm: Norm = "class",  # where there are no classes, "class" is "batch", and others are of noise alone
        embed: NonNegativeInt = 128,  # class embedding of norm=vector and adain
        split: bool = False,  # of these: the noise is split, one share to the dense layer, one to each block
        attention: NonNegativeInt = 0,  # self-attention where the side is the image's, halved so often; 0: none
        spectral: bool = False,  # spectral norm of every layer
        init: Init = "xavier",
    ) -> None:
        super().__init__()
        count = len(widths) - 1 if widths else halvings("resnet", shape)
        channels = shape[0]
        stages = list(widths) or [
            width * many for many in ((4,) * (count + 1) if count <= SMALL else (16, 16, 8, 4, 2, 1, 1, 1)[: count + 1])
        ]
        if split and (norm not in BY_VECTOR or z % (count + 1)):
            raise UserError(f"resnet: split=true needs norm=vector or adain, and z={z} a multiple of {count + 1}")
        self.z_shape = (z,)
        self.by_class, self.by_vector = norm == "class" and classes > 0, norm in BY_VECTOR
        self.share = z // (count + 1) if split else z
        self.split = split
        self.grid = (stages[0], *base_grid("resnet", shape, count))
        self.embed = nn.Embedding(classes, embed) if classes and self.by_vector else None
        told = self.share + (embed if self.embed else 0)

        def normalise(channels: int) -> nn.Module:
            if self.by_vector:
                return BY_VECTOR[norm](channels, told)
            return ConditionalBatchNorm(channels, classes) if self.by_class else BatchNorm(channels)

        self.dense = nn.Linear(self.share, torch.Size(self.grid).numel())
        self.blocks = nn.ModuleList(Up(a, b, (normalise(a), normalise(b))) for a, b in pairwise(stages))
        self.attention = attention_at("resnet", attention, list(reversed(range(count))), stages[1:])
        self.norm = BatchNorm(stages[-1])
        self.to_image = nn.Conv2d(stages[-1], channels, 3, padding=1)
        initialised(self, init, spectral)

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, z), cond (B,) class ids or None -> (B, C, H, W) in [-1, 1]."""
        first, *others = z.split(self.share, 1)  # one alone where noise is not split
        x = self.dense(first).unflatten(1, self.grid).contiguous(memory_format=torch.channels_last)
        for index, block in enumerate(self.blocks):
            told = cond if self.by_class else None
            if self.by_vector:
                told = others[index] if self.split else z
                told = told if self.embed is None else torch.cat([self.embed(cond), told], 1)  # (B, V)
            x = block(x, told)
            x = self.attention[str(index)](x) if str(index) in self.attention else x
        return self.to_image(F.relu(self.norm(x))).tanh()


class Down(nn.Module):
    """act, conv, act, conv, half the side; beside it a 1x1 convolution, where channels or the side change."""

    def __init__(self, a: int, b: int, *, first: bool, halve: bool) -> None:
        super().__init__()
        self.first, self.halve = first, halve  # the first block sees the image, which is not activated
        self.one, self.two = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)
        self.beside = nn.Conv2d(a, b, 1) if a != b or halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, a, h, w) -> (B, b, h, w), or half of both sides."""
        y = self.two(F.relu(self.one(x if self.first else F.relu(x))))
        if not self.halve:
            return y + self.beside(x)
        return F.avg_pool2d(y, 2) + self.beside(F.avg_pool2d(x, 2))


@discriminators.register("resnet")
class ResNetDiscriminator(nn.Module):
    """A `Down` for each width, the sum over the last grid, and a head that is told the class."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: PositiveInt = 16,  # unit of channels: blocks have 4; above 32x32 1, 2, 4, 8, 16, 16 from the image down
        widths: tuple[PositiveInt, ...] = (),  # of what each block gives, instead of `width`
        downs: NonNegativeInt = 0,  # how many of the blocks halve the side, the first ones; 0: what the size takes
        attention: NonNegativeInt = 0,
        spectral: bool = True,
        init: Init = "xavier",
        class_by: ClassBy = "projection",
        embedding: PositiveInt = 128,  # numbers of class_by=contrastive
    ) -> None:
        super().__init__()
        count = halvings("resnet", shape)
        small = count <= SMALL
        stages = list(widths) or [
            width * many for many in ((4,) * 4 if small else (*(min(2**i, 16) for i in range(count)), 16))
        ]
        downs = downs or (2 if small else count)
        self.blocks = nn.ModuleList(
            Down(a, b, first=index == 0, halve=index < downs)
            for index, (a, b) in enumerate(pairwise([shape[0], *stages]))
        )
        self.attention = attention_at("resnet", attention, [min(i + 1, downs) for i in range(len(stages))], stages)
        self.head = Head(stages[-1], classes, class_by, embedding=embedding)
        initialised(self, init, spectral)

    def forward(self, x: Tensor, cond: Tensor | None) -> Judgement:
        """x (B, C, H, W), cond (B,) class ids or None -> one logit a sample, (B,)."""
        for index, block in enumerate(self.blocks):
            x = block(x)
            x = self.attention[str(index)](x) if str(index) in self.attention else x
        features = F.relu(x).sum((2, 3))  # (B, last width)
        return self.head(features, cond, [x, features])


def attention_at(family: str, wanted: int, halved: list[int], channels: list[int]) -> nn.ModuleDict:
    """After the first block whose grid is the image's halved so often; refused where there is none."""
    if not wanted:
        return nn.ModuleDict()
    if wanted not in halved:
        raise UserError(f"{family}: attention={wanted}: grids here are halved {sorted(set(halved))} times; 0 for none")
    index = halved.index(wanted)
    return nn.ModuleDict({str(index): SelfAttention(channels[index])})
