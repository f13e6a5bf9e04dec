"""`biggan-deep`: BigGAN with bottleneck blocks: four times as deep, with fewer parameters.

Brock, Donahue, Simonyan 2019 (arXiv 1809.11096), appendix B, figure 16, tables 7 to 9. The skip connection of a block
has no weights for the channels that exist on both sides: G drops the surplus channels, D appends new ones. Written from
the paper.

Legend: B batch, C image channels, H W image size, h w a grid, K classes, V numbers in noise and class embedding.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import discriminators, generators
from mulligan.core.sample import Sample
from mulligan.models.resnet import SMALL, Init, attention_at, initialised
from mulligan.models.sizes import base_grid, halvings
from mulligan.nn.head import ClassBy, Head
from mulligan.nn.norm import BatchNorm, VectorBatchNorm
from mulligan.nn.resample import enlarge


def _bottleneck(a: int, b: int, narrow: int) -> nn.ModuleList:
    """1x1 to `narrow` channels, 3x3, 3x3, 1x1 to `b`."""
    middle = [nn.Conv2d(narrow, narrow, 3, padding=1) for _ in range(2)]
    return nn.ModuleList([nn.Conv2d(a, narrow, 1), *middle, nn.Conv2d(narrow, b, 1)])


class DeepUp(nn.Module):
    """Four times norm, activation, convolution; the first `b` channels of the input are added to the output."""

    def __init__(self, a: int, b: int, *, bottleneck: int, vector: int, double: bool, slope: float) -> None:
        super().__init__()
        narrow = max(1, a // bottleneck)
        self.convs = _bottleneck(a, b, narrow)
        self.norms = nn.ModuleList(VectorBatchNorm(channels, vector) for channels in (a, narrow, narrow, narrow))
        self.channels, self.double, self.slope = b, double, slope

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x (B, a, h, w), vector (B, V) -> (B, b, h, w), or twice both sides."""
        y = x
        for index, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            y = F.leaky_relu(norm(y, vector), self.slope)
            y = conv(enlarge(y, 2) if self.double and index == 1 else y)
        x = x[:, : self.channels]
        return y + (enlarge(x, 2) if self.double else x)


@generators.register("biggan-deep", kinds={"image"}, takes={"class"})
class BigGANDeepGenerator(Generator):
    """Noise and class embedding, concatenated once, give the base grid and control every norm; two blocks per size."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 16,  # channels per unit; stages have 4 units, above 32x32 16, 16, 8, 4, 2, 1, base first
        widths: tuple[PositiveInt, ...] = (),  # of the base grid and of the output of each doubling, instead of `width`
        z: NonNegativeInt = 128,  # noise numbers
        embed: NonNegativeInt = 128,  # numbers in the class embedding
        bottleneck: PositiveInt = 4,  # factor by which the inner layers of a block are narrower
        attention: NonNegativeInt = 0,  # self-attention on the grid that is the image's halved so often; 0: none
        spectral: bool = True,  # spectral norm of every layer
        init: Init = "orthogonal",  # initial weights
        slope: float = 0.0,  # of the activation below zero; 0: ReLU
    ) -> None:
        super().__init__()
        shape, classes = sample.shape, condition.classes
        count = len(widths) - 1 if widths else halvings("biggan-deep", shape)
        stages = list(widths) or [
            width * many for many in ((4,) * (count + 1) if count <= SMALL else (16, 16, 8, 4, 2, 1, 1, 1)[: count + 1])
        ]
        self.z_shape = (z,)
        self.base_grid = (stages[0], *base_grid("biggan-deep", shape, count))
        self.slope = slope
        self.embed = nn.Embedding(classes, embed) if classes else None
        vector = z + (embed if classes else 0)
        self.dense = nn.Linear(vector, torch.Size(self.base_grid).numel())
        self.stages = nn.ModuleList(
            nn.ModuleList(
                DeepUp(a, into, bottleneck=bottleneck, vector=vector, double=double, slope=slope)
                for into, double in ((a, False), (b, True))
            )
            for a, b in pairwise(stages)
        )
        self.attention = attention_at("biggan-deep", attention, list(reversed(range(count))), stages[1:])
        self.norm = BatchNorm(stages[-1])
        self.to_image = nn.Conv2d(stages[-1], shape[0], 3, padding=1)
        initialised(self, init, spectral)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), `class` (B,) or none -> (B, C, H, W) in [-1, 1]."""
        vector = z if self.embed is None else torch.cat([self.embed(cond["class"]), z], 1)  # (B, V)
        x = self.dense(vector).unflatten(1, self.base_grid).contiguous(memory_format=torch.channels_last)
        stages = self.stages
        for index, stage in enumerate(stages):
            for block in stage:
                x = block(x, vector)
            x = self.attention[str(index)](x) if str(index) in self.attention else x
        return self.to_image(F.leaky_relu(self.norm(x), self.slope)).tanh()


class DeepDown(nn.Module):
    """Four times activation, convolution; plus the input, with new channels appended where the output has more."""

    def __init__(self, a: int, b: int, *, bottleneck: int, halve: bool, slope: float) -> None:
        super().__init__()
        self.convs = _bottleneck(a, b, max(1, b // bottleneck))
        self.more = nn.Conv2d(a, b - a, 1) if b > a else None
        self.channels, self.halve, self.slope = b, halve, slope

    def forward(self, x: Tensor) -> Tensor:
        """(B, a, h, w) -> (B, b, h, w), or half of both sides."""
        y = x
        for index, conv in enumerate(self.convs):
            y = F.leaky_relu(y, self.slope)
            y = conv(F.avg_pool2d(y, 2) if self.halve and index == 3 else y)
        x = F.avg_pool2d(x, 2) if self.halve else x[:, : self.channels]
        return y + (x[:, : self.channels] if self.more is None else torch.cat([x, self.more(x)], 1))


@discriminators.register("biggan-deep", kinds={"image"}, takes={"class"})
class BigGANDeepDiscriminator(Discriminator):
    """G mirrored: two blocks per resolution, the sum over the last grid, and a head that takes the class."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 16,  # channels per unit; stages have 4 units, above 32x32 1, 2, 4, 8, 16, 16, image first
        widths: tuple[PositiveInt, ...] = (),  # of the first layer and of the output of each stage, instead of `width`
        downs: NonNegativeInt = 0,  # how many stages halve the side, the first ones; 0: chosen by the size
        bottleneck: PositiveInt = 4,  # factor by which the inner layers of a block are narrower
        attention: NonNegativeInt = 0,  # self-attention on the grid that is the image's halved so often; 0: none
        spectral: bool = True,  # spectral norm of every layer
        init: Init = "orthogonal",  # initial weights
        slope: float = 0.0,  # of the activation below zero; 0: ReLU
        class_by: ClassBy = "projection",  # how the head uses the class
        embedding: PositiveInt = 128,  # numbers in an embedding, of class_by=contrastive
    ) -> None:
        super().__init__()
        count = halvings("biggan-deep", sample.shape)
        small = count <= SMALL
        stages = list(widths) or [
            width * many for many in ((4,) * 4 if small else tuple(min(2**i, 16) for i in range(count + 1)))
        ]
        downs = downs or (2 if small else count)
        self.slope = slope
        self.from_image = nn.Conv2d(sample.shape[0], stages[0], 3, padding=1)
        self.stages = nn.ModuleList(
            nn.Sequential(
                DeepDown(a, b, bottleneck=bottleneck, halve=index < downs, slope=slope),
                DeepDown(b, b, bottleneck=bottleneck, halve=False, slope=slope),
            )
            for index, (a, b) in enumerate(pairwise(stages))
        )
        halved = [min(i + 1, downs) for i in range(len(self.stages))]
        self.attention = attention_at("biggan-deep", attention, halved, stages[1:])
        self.head = Head(stages[-1], condition.classes, class_by, embedding=embedding)
        initialised(self, init, spectral)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W), `class` (B,) or none -> one logit per sample, (B,)."""
        x = self.from_image(x)
        for index, stage in enumerate(self.stages):
            x = stage(x)
            x = self.attention[str(index)](x) if str(index) in self.attention else x
        features = F.leaky_relu(x, self.slope).sum((2, 3))  # (B, last width)
        return self.head(features, cond.get("class"), [x, features])
