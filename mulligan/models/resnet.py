"""`resnet`: the residual networks of SNGAN, SAGAN and BigGAN, which differ by options.

Miyato 2018 (arXiv 1802.05957) defined the blocks. Zhang 2019 (1805.08318) added attention, and spectral norm in G.
Brock 2019 (1809.11096) added one embedding for all norms, noise at every block, and orthogonal initial weights.
Written from the papers.

Legend: B batch, C image channels, H W image size, h w a grid, K classes, V numbers that a norm depends on.
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
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import discriminators, generators
from mulligan.core.sample import Sample
from mulligan.models.sizes import base_grid, halvings
from mulligan.nn.attention import SelfAttention
from mulligan.nn.head import ClassBy, Head
from mulligan.nn.norm import AdaptiveInstanceNorm, BatchNorm, ConditionalBatchNorm, VectorBatchNorm
from mulligan.nn.resample import enlarge

Init = Literal["xavier", "orthogonal"]
# no condition; scale and shift per class; both linear in class and noise; the same, but normalised per sample
Norm = Literal["batch", "class", "vector", "adain"]
BY_VECTOR = {"vector": VectorBatchNorm, "adain": AdaptiveInstanceNorm}
EPS = 1e-6  # lower bound of the largest singular value
SMALL = 3  # up to so many halvings all stages have the same width: the papers' networks for 32x32


def initialised(net: nn.Module, init: Init, spectral: bool) -> None:
    """Initialise all layers, then add spectral norm, which reads the weights; in D also to embeddings of classes."""
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
    """norm, ReLU, upsampling by 2, conv, norm, ReLU, conv; plus a 1x1 convolution of the upsampled input."""

    def __init__(self, a: int, b: int, norms: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norms)
        self.first, self.second = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)
        self.beside = nn.Conv2d(a, b, 1)

    def forward(self, x: Tensor, given: Tensor | None) -> Tensor:
        """x (B, a, h, w), `given` (B,) class ids or (B, V) for the norms, or None -> (B, b, 2 h, 2 w)."""
        y = self.first(enlarge(F.relu(_normalised(self.norms[0], x, given)), 2))
        y = self.second(F.relu(_normalised(self.norms[1], y, given)))
        return y + enlarge(self.beside(x), 2)  # a 1x1 convolution and the upsampling commute; this order is cheaper


def _normalised(norm: nn.Module, x: Tensor, given: Tensor | None) -> Tensor:
    return norm(x) if given is None else norm(x, given)


@generators.register("resnet", kinds={"image"}, takes={"class"})
class ResNetGenerator(Generator):
    """A dense layer to the base grid, an `Up` for each doubling, one more norm, and a convolution to the image."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 16,  # channels per unit; stages have 4 units, above 32x32 16, 16, 8, 4, 2, 1, base first
        widths: tuple[PositiveInt, ...] = (),  # of the base grid and of the output of each block, instead of `width`
        z: NonNegativeInt = 128,  # noise numbers
        norm: Norm = "class",  # of activations; without classes, class is batch, and vector and adain use noise only
        embed: NonNegativeInt = 128,  # numbers in the class embedding, of norm=vector and norm=adain
        split: bool = False,  # for these norms: the noise is split, one share to the dense layer, one to each block
        attention: NonNegativeInt = 0,  # self-attention on the grid that is the image's halved so often; 0: none
        spectral: bool = False,  # spectral norm of every layer
        init: Init = "xavier",  # initial weights
    ) -> None:
        super().__init__()
        shape, classes = sample.shape, condition.classes
        count = len(widths) - 1 if widths else halvings("resnet", shape)
        stages = list(widths) or [
            width * many for many in ((4,) * (count + 1) if count <= SMALL else (16, 16, 8, 4, 2, 1, 1, 1)[: count + 1])
        ]
        if split and (norm not in BY_VECTOR or z % (count + 1)):
            raise UserError(f"resnet: split=true needs norm=vector or adain, and z={z} a multiple of {count + 1}")
        self.z_shape = (z,)
        self.by_class, self.by_vector = norm == "class" and classes > 0, norm in BY_VECTOR
        self.share = z // (count + 1) if split else z
        self.split = split
        self.base_grid = (stages[0], *base_grid("resnet", shape, count))
        self.embed = nn.Embedding(classes, embed) if classes and self.by_vector else None
        vector = self.share + (embed if self.embed else 0)

        def normalise(channels: int) -> nn.Module:
            if self.by_vector:
                return BY_VECTOR[norm](channels, vector)
            return ConditionalBatchNorm(channels, classes) if self.by_class else BatchNorm(channels)

        self.dense = nn.Linear(self.share, torch.Size(self.base_grid).numel())
        self.blocks = nn.ModuleList(Up(a, b, (normalise(a), normalise(b))) for a, b in pairwise(stages))
        self.attention = attention_at("resnet", attention, list(reversed(range(count))), stages[1:])
        self.norm = BatchNorm(stages[-1])
        self.to_image = nn.Conv2d(stages[-1], shape[0], 3, padding=1)
        initialised(self, init, spectral)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), `class` (B,) or none -> (B, C, H, W) in [-1, 1]."""
        first, *others = z.split(self.share, 1)  # one share only where the noise is not split
        x = self.dense(first).unflatten(1, self.base_grid).contiguous(memory_format=torch.channels_last)
        for index, block in enumerate(self.blocks):
            given = cond["class"] if self.by_class else None
            if self.by_vector:
                given = others[index] if self.split else z
                given = given if self.embed is None else torch.cat([self.embed(cond["class"]), given], 1)  # (B, V)
            x = block(x, given)
            x = self.attention[str(index)](x) if str(index) in self.attention else x
        return self.to_image(F.relu(self.norm(x))).tanh()


class Down(nn.Module):
    """ReLU, conv, ReLU, conv, pooling by 2; plus a 1x1 convolution of the input, where channels or the side change."""

    def __init__(self, a: int, b: int, *, first: bool, halve: bool) -> None:
        super().__init__()
        self.first, self.halve = first, halve  # the first block takes the image itself, without a ReLU
        self.one, self.two = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)
        self.beside = nn.Conv2d(a, b, 1) if a != b or halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, a, h, w) -> (B, b, h, w), or half of both sides."""
        y = self.two(F.relu(self.one(x if self.first else F.relu(x))))
        if not self.halve:
            return y + self.beside(x)
        return F.avg_pool2d(y, 2) + self.beside(F.avg_pool2d(x, 2))


@discriminators.register("resnet", kinds={"image"}, takes={"class"})
class ResNetDiscriminator(Discriminator):
    """A `Down` for each width, the sum over the last grid, and a head that takes the class."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 16,  # channels per unit; blocks have 4 units, above 32x32 1, 2, 4, 8, 16, 16, image first
        widths: tuple[PositiveInt, ...] = (),  # of the output of each block, instead of `width`
        downs: NonNegativeInt = 0,  # how many of the blocks halve the side, the first ones; 0: chosen by the size
        attention: NonNegativeInt = 0,  # self-attention on the grid that is the image's halved so often; 0: none
        spectral: bool = True,  # spectral norm of every layer
        init: Init = "xavier",  # initial weights
        class_by: ClassBy = "projection",  # how the head uses the class
        embedding: PositiveInt = 128,  # numbers in an embedding, of class_by=contrastive
    ) -> None:
        super().__init__()
        count = halvings("resnet", sample.shape)
        small = count <= SMALL
        stages = list(widths) or [
            width * many for many in ((4,) * 4 if small else (*(min(2**i, 16) for i in range(count)), 16))
        ]
        downs = downs or (2 if small else count)
        self.blocks = nn.ModuleList(
            Down(a, b, first=index == 0, halve=index < downs)
            for index, (a, b) in enumerate(pairwise([sample.shape[0], *stages]))
        )
        self.attention = attention_at("resnet", attention, [min(i + 1, downs) for i in range(len(stages))], stages)
        self.head = Head(stages[-1], condition.classes, class_by, embedding=embedding)
        initialised(self, init, spectral)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W), `class` (B,) or none -> one logit per sample, (B,)."""
        for index, block in enumerate(self.blocks):
            x = block(x)
            x = self.attention[str(index)](x) if str(index) in self.attention else x
        features = F.relu(x).sum((2, 3))  # (B, last width)
        return self.head(features, cond.get("class"), [x, features])


def attention_at(family: str, wanted: int, halved: list[int], channels: list[int]) -> nn.ModuleDict:
    """Attention after the first block whose grid is the image's halved `wanted` times.

    `halved` and `channels` are of the output of each block. Raises UserError where there is no such grid.
    """
    if not wanted:
        return nn.ModuleDict()
    if wanted not in halved:
        raise UserError(f"{family}: attention={wanted}: grids here are halved {sorted(set(halved))} times; 0 for none")
    index = halved.index(wanted)
    return nn.ModuleDict({str(index): SelfAttention(channels[index])})
