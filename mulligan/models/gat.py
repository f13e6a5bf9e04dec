"""`gat`: plain transformers whose earlier layers draw, too (Hyun 2025, Scalable GANs with Transformers, 2509.24935).

Written from the paper's description and facts about the authors' code. G draws an image in stages: heads at evenly
spaced depths, each of which adds to the sum of the ones before it. In training it returns all stages, and D sees them
together, as channels of one image; the `stage-noise` term covers the earlier ones with noise.

Left out: the authors can also align D's tokens with those of DINOv2, and give G patches of noise times zero.

Legend: B batch, C image channels, H W image size, K stages, N tokens, E numbers in a token, S numbers of a style.
"""

from __future__ import annotations

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
from mulligan.models.sizes import patches
from mulligan.nn.head import normalised
from mulligan.nn.transformer import (
    Block,
    Modulation,
    RMSNorm,
    StyledBlock,
    attention_for,
    glorot,
    heads_of,
    patchify,
    positions,
    rotary,
    unpatchify,
)

RATE = 0.01  # learning rate of a mapping, relative to that of the rest


class SlowLinear(nn.Linear):
    """(B, a) -> (B, b) with Glorot's weights, which a step of Adam moves RATE times as far as others."""

    def reset_parameters(self) -> None:
        glorot(self, 1 / RATE)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * RATE, self.bias * RATE)


def slow_mlp(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(SlowLinear(a, b), nn.SiLU(), SlowLinear(b, b))


def class_embedding(classes: int, numbers: int) -> nn.Embedding:
    embed = nn.Embedding(classes, numbers)
    nn.init.normal_(embed.weight, std=0.02)
    return embed


class Mapping(nn.Module):
    """Noise, concatenated with an embedding of the class of the same length, both normalised, to a style."""

    def __init__(self, z: int, classes: int, styles: int) -> None:
        super().__init__()
        self.embed = class_embedding(classes, z) if classes else None
        self.layers = slow_mlp(z * (2 if classes else 1), styles)

    def forward(self, z: Tensor, ids: Tensor | None) -> Tensor:
        """z (B, z), class ids (B,) or None -> (B, S)."""
        x = normalised(z)
        if self.embed is not None:
            assert ids is not None
            x = torch.cat([normalised(self.embed(ids)), x], 1)
        return self.layers(x)


class ToPatches(nn.Module):
    """Normalised tokens, scaled by a style, to patches."""

    def __init__(self, width: int, styles: int, numbers: int, gain: float) -> None:
        super().__init__()
        self.norm = RMSNorm(width, affine=False)
        self.modulation = Modulation(styles, width, 1, gain=0.1)
        self.out = glorot(nn.Linear(width, numbers), gain)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x (B, N, E), style (B, S) -> (B, N, numbers)."""
        (scale,) = self.modulation(style)
        return self.out(self.norm(x) * (1 + scale))


class Trunk(nn.Module):
    """Tokens that start as fixed positions, through styled blocks; heads at evenly spaced depths give patches."""

    def __init__(
        self,
        family: str,
        grid: tuple[int, int],
        width: int,
        depth: int,
        head: int,
        styles: int,
        heads: list[int],
        *,
        gain: float = 1.0,
    ) -> None:
        """`heads`: the numbers in a patch of each head, from the earliest on.

        `gain` multiplies Glorot's initial weights of the heads.
        """
        super().__init__()
        if depth < len(heads):
            raise UserError(f"{family}: depth={depth} is less than stages={len(heads)}; each stage needs a block")
        count = heads_of(family, width, head)
        self.register_buffer("positions", positions(grid, width), persistent=False)
        for name, turns in zip(("cos", "sin"), rotary(grid, width // count), strict=True):
            self.register_buffer(name, turns, persistent=False)
        self.blocks = nn.ModuleList(StyledBlock(width, count, styles) for _ in range(depth))
        self.heads = nn.ModuleList(ToPatches(width, styles, numbers, gain) for numbers in heads)
        self.depths = [depth * (i + 1) // len(heads) for i in range(len(heads))]  # blocks before each head

    def forward(self, style: Tensor) -> list[Tensor]:
        """style (B, S) -> of each head (B, N, numbers)."""
        x, drawn = self.positions.expand(len(style), -1, -1), []
        for index, block in enumerate(self.blocks):
            x = block(x, style, (self.cos, self.sin))
            if index + 1 == self.depths[len(drawn)]:
                drawn.append(self.heads[len(drawn)](x, style))
        return drawn


@generators.register("gat", kinds={"image"}, takes={"class"})
class GATGenerator(Generator):
    """A mapping from noise and class to a style, and a trunk with heads whose images add up."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # numbers in a token, and of a style
        depth: NonNegativeInt = 4,  # blocks
        head: PositiveInt = 32,  # numbers in an attention head, at most
        patch: PositiveInt = 4,  # side of the square of pixels that is one token
        stages: PositiveInt = 4,  # images that D sees, the last of which is the sample
        z: NonNegativeInt = 64,  # noise numbers
    ) -> None:
        super().__init__()
        self.patch_grid, self.patch = patches("gat", sample.shape, patch), patch
        self.stage_count, self.z_shape = stages, (z,)
        self.mapping = Mapping(z, condition.classes, width)
        numbers = [sample.shape[0] * patch**2] * stages
        self.trunk = Trunk("gat", self.patch_grid, width, depth, head, width, numbers)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z) -> (B, C, H, W), unbounded; in training (B, K C, H, W)."""
        drawn = self.trunk(self.mapping(z, cond.get("class")))
        images = torch.stack([unpatchify(x, self.patch, self.patch_grid) for x in drawn], 1)
        return images.cumsum(1).flatten(1, 2) if self.training else images.sum(1)


def all_stages(family: str, x: Tensor, channels: int, stages: int) -> Tensor:
    """x (B, K C, H, W), or a single image, which then stands for each of its stages."""
    if x.shape[1] == channels:
        return x.repeat(1, stages, 1, 1)
    if x.shape[1] != stages * channels:
        raise UserError(
            f"{family}: G draws {x.shape[1] // channels} stages, D sees {stages}; set generator.stages and "
            "discriminator.stages to the same"
        )
    return x


class ClassHead(nn.Module):
    """A logit of normalised features; with classes, their inner product with a mapped embedding of the class."""

    def __init__(self, width: int, classes: int, embed: int) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.out = glorot(nn.Linear(width, embed if classes else 1))
        self.of_class = nn.Sequential(class_embedding(classes, embed), slow_mlp(embed, embed)) if classes else None

    def forward(self, features: Tensor, ids: Tensor | None) -> Tensor:
        """features (B, E), class ids (B,) or None -> (B,)."""
        y = self.out(self.norm(features))
        return y.squeeze(1) if self.of_class is None else (y * self.of_class(ids)).sum(1)


@discriminators.register("gat", kinds={"image"}, takes={"class"})
class GATDiscriminator(Discriminator):
    """All stages of a patch in one token, a class token before them, blocks, and a logit from the class token."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # numbers in a token
        depth: NonNegativeInt = 4,  # blocks
        head: PositiveInt = 32,  # numbers in an attention head, at most
        patch: PositiveInt = 4,  # side of the square of pixels that is one token
        stages: PositiveInt = 4,  # images of a sample: as many as the generator's
        embed: NonNegativeInt = 128,  # numbers of a class, which features are projected on
    ) -> None:
        super().__init__()
        channels, grid, count = sample.shape[0], patches("gat", sample.shape, patch), heads_of("gat", width, head)
        self.channels, self.patch, self.stage_count = channels, patch, stages
        self.from_patches = glorot(nn.Linear(stages * channels * patch**2, width))
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("positions", positions(grid, width), persistent=False)
        for name, turns in zip(("cos", "sin"), rotary(grid, width // count, still=1), strict=True):
            self.register_buffer(name, turns, persistent=False)
        self.blocks = nn.ModuleList(Block(width, count) for _ in range(depth))
        self.head = ClassHead(width, condition.classes, embed)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, K C, H, W) or (B, C, H, W) -> one logit a sample, (B,)."""
        with attention_for(x, self):
            x = patchify(all_stages("gat", x, self.channels, self.stage_count), self.patch)
            x = self.from_patches(x) + self.positions  # (B, N, E)
            x = torch.cat([self.token.expand(len(x), 1, -1), x], 1)
            for block in self.blocks:
                x = block(x, (self.cos, self.sin))
        return Judgement([self.head(x[:, 0], cond.get("class"))], [x])
