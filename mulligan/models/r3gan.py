"""`r3gan`: residual networks of grouped bottlenecks without normalisation (Huang 2024, arXiv 2501.05441).

Written from the paper's description. G and D mirror each other, built from one list of widths.

Legend: B batch, C image channels, H W image size, h w the base grid, K classes.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import discriminators, generators
from mulligan.core.sample import Sample
from mulligan.models.sizes import base_grid, halvings
from mulligan.nn.resample import downsample, upsample

SLOPE = 0.2


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def _scaled(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    """N(0, gain / sqrt(fan_in)) weights, zero bias."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Bottleneck(nn.Module):
    """x + narrow(act(grouped(act(widen(x))))); the last layer starts at zero, so a new block is the identity."""

    def __init__(self, width: int, expansion: int, group: int, gain: float) -> None:
        super().__init__()
        inner = width * expansion
        if inner % group:
            raise UserError(f"r3gan: width {width} times expansion {expansion} must be a multiple of group={group}")
        # only layers before an activation have a bias
        self.widen = _scaled(nn.Conv2d(width, inner, 1), gain)
        self.grouped = _scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=inner // group), gain)
        self.narrow = nn.Conv2d(inner, width, 1, bias=False)
        nn.init.zeros_(self.narrow.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(_act(self.grouped(_act(self.widen(x)))))


def _layout(shape: tuple[int, ...], width: int, widths: tuple[int, ...]) -> tuple[list[int], tuple[int, int]]:
    """Widths of the stages from the base grid up, and the base grid."""
    chosen = list(widths) or [width] * (halvings("r3gan", shape) + 1)
    return chosen, base_grid("r3gan", shape, len(chosen) - 1)


def _stages(widths: list[int], blocks: int, expansion: int, group: int) -> nn.ModuleList:
    gain = math.sqrt(2 / (1 + SLOPE**2)) * (len(widths) * blocks) ** -0.25  # Fixup's L^(-1/4) for two inner layers
    return nn.ModuleList(nn.Sequential(*(Bottleneck(w, expansion, group, gain) for _ in range(blocks))) for w in widths)


def _change(a: int, b: int) -> nn.Module:
    return nn.Identity() if a == b else _scaled(nn.Conv2d(a, b, 1, bias=False))


@generators.register("r3gan", kinds={"image"}, takes={"class"})
class R3GANGenerator(Generator):
    """A learned base grid, each channel scaled by a dense layer of noise and class; stages with upsampling between."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # channels of every stage
        widths: tuple[PositiveInt, ...] = (),  # of each stage from the base grid up, instead of `width`
        blocks: NonNegativeInt = 2,  # residual blocks per stage
        expansion: PositiveInt = 2,  # inner width of a block divided by its width
        group: PositiveInt = 16,  # channels in a group of the 3x3 convolution
        z: NonNegativeInt = 64,  # noise numbers
        embed: NonNegativeInt = 64,  # numbers in the class embedding
    ) -> None:
        super().__init__()
        classes = condition.classes
        stages, grid = _layout(sample.shape, width, widths)
        self.z_shape = (z,)
        self.embed = nn.Embedding(classes, embed) if classes else None
        self.basis = nn.Parameter(torch.randn(stages[0], *grid))
        self.dense = _scaled(nn.Linear(z + (embed if classes else 0), stages[0], bias=False))
        self.stages = _stages(stages, blocks, expansion, group)
        self.changes = nn.ModuleList(_change(a, b) for a, b in pairwise(stages))
        self.to_image = _scaled(nn.Conv2d(stages[-1], sample.shape[0], 1, bias=False))

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), `class` (B,) or none -> (B, C, H, W), unbounded as in the paper."""
        if self.embed is not None:
            z = torch.cat([z, self.embed(cond["class"])], 1)
        x = self.basis * self.dense(z)[:, :, None, None]  # (B, width, h, w)
        first, *others = self.stages
        x = first(x.contiguous(memory_format=torch.channels_last))
        for change, stage in zip(self.changes, others, strict=True):
            x = stage(upsample(change(x)))  # resampled at the narrower width
        return self.to_image(x)


@discriminators.register("r3gan", kinds={"image"}, takes={"class"})
class R3GANDiscriminator(Discriminator):
    """G mirrored; a depthwise convolution reduces the base grid to one vector; the class enters by projection."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # channels of every stage
        widths: tuple[PositiveInt, ...] = (),  # of each stage from the base grid up, as of the generator
        blocks: NonNegativeInt = 2,  # residual blocks per stage
        expansion: PositiveInt = 2,  # inner width of a block divided by its width
        group: PositiveInt = 16,  # channels in a group of the 3x3 convolution
    ) -> None:
        super().__init__()
        classes = condition.classes
        stages, grid = _layout(sample.shape, width, widths)
        stages = stages[::-1]
        self.from_image = _scaled(nn.Conv2d(sample.shape[0], stages[0], 1, bias=False))
        self.stages = _stages(stages, blocks, expansion, group)
        self.changes = nn.ModuleList(_change(a, b) for a, b in pairwise(stages))
        last = stages[-1]
        self.condense = _scaled(nn.Conv2d(last, last, grid, groups=last, bias=False))
        self.embed = nn.Embedding(classes, last) if classes else None
        self.head = _scaled(nn.Linear(last, last if classes else 1, bias=False))
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, std=last**-0.5)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W), `class` (B,) or none -> one logit per sample, (B,)."""
        x = self.stages[0](self.from_image(x))
        for change, stage in zip(self.changes, self.stages[1:], strict=True):
            x = stage(change(downsample(x)))
        y = self.head(self.condense(x).flatten(1))  # (B, 1), or (B, width) for the projection
        logit = y.squeeze(1) if self.embed is None else (y * self.embed(cond["class"])).sum(1)
        return Judgement([logit], [x])
