"""`gat`: plain transformers whose earlier layers draw, too (Hyun 2025, Scalable GANs with Transformers, 2509.24935).

Written from the paper's description and facts of the authors' code. G puts an image together in stages: heads at even
depths, each of which adds to what the ones before it drew. In training it gives all stages, and D sees them together,
as channels of one image; the `stage-noise` term blurs the earlier ones.

Theirs can besides align D's tokens with those of DINOv2, and has patches of noise shown to G times zero.

Legend: B batch, C image channels, H W image size, K stages, N tokens, E numbers in a token, S numbers of a style.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import Judgement
from mulligan.core.errors import UserError
from mulligan.core.registry import discriminators, generators
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

RATE = 0.01  # at which a mapping learns, over that of the rest


class SlowLinear(nn.Linear):
    """(B, a) -> (B, b) by Glorot's weights, of which a step of Adam moves RATE of what it moves others."""

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
    """Noise, and the class's embedding of as many numbers beside it, both of unit size, to a style."""

    def __init__(self, z: int, classes: int, styles: int) -> None:
        super().__init__()
        self.embed = class_embedding(classes, z) if classes else None
        self.layers = slow_mlp(z * (2 if classes else 1), styles)

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, z), cond (B,) or None -> (B, S)."""
        x = normalised(z)
        if self.embed is not None:
            assert cond is not None
            x = torch.cat([normalised(self.embed(cond)), x], 1)
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
    """Tokens that begin as fixed positions, through styled blocks; heads at even depths look at them."""

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
        """`heads` are how many numbers of a token's patch each head gives, from the earliest on.

        Their weights are Glorot's times `gain` at first.
        """
        super().__init__()
        if depth < len(heads):
            raise UserError(f"{family}: depth={depth} is less than stages={len(heads)}; each stage needs a block")
        count = heads_of(family, width, head)
        self.register_buffer("places", positions(grid, width), persistent=False)
        for name, turns in zip(("cos", "sin"), rotary(grid, width // count), strict=True):
            self.register_buffer(name, turns, persistent=False)
        self.blocks = nn.ModuleList(StyledBlock(width, count, styles) for _ in range(depth))
        self.heads = nn.ModuleList(ToPatches(width, styles, numbers, gain) for numbers in heads)
        self.depths = [depth * (i + 1) // len(heads) for i in range(len(heads))]  # blocks before each head

    def forward(self, style: Tensor) -> list[Tensor]:
        """style (B, S) -> of each head (B, N, numbers)."""
        x, drawn = self.places.expand(len(style), -1, -1), []
        for index, block in enumerate(self.blocks):
            x = block(x, style, (self.cos, self.sin))
            if index + 1 == self.depths[len(drawn)]:
                drawn.append(self.heads[len(drawn)](x, style))
        return drawn


@generators.register("gat")
class GATGenerator(nn.Module):
    """A mapping from noise and class to a style, and a trunk whose heads' images add up."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: PositiveInt = 64,  # numbers in a token, and of a style
        depth: NonNegativeInt = 4,  # blocks
        head: PositiveInt = 32,  # numbers in a head of attention, at most
        patch: PositiveInt = 4,  # side of the square of pixels that a token stands for
        stages: PositiveInt = 4,  # images that D is shown, the last of which is the picture
        z: NonNegativeInt = 64,  # noise numbers
    ) -> None:
        super().__init__()
        self.grid, self.patch, self.stages, self.z_shape = patches("gat", shape, patch), patch, stages, (z,)
        self.mapping = Mapping(z, classes, width)
        self.trunk = Trunk("gat", self.grid, width, depth, head, width, [shape[0] * patch**2] * stages)

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, z), cond (B,) class ids or None -> (B, C, H, W), unbounded; in training (B, K C, H, W)."""
        images = torch.stack([unpatchify(x, self.patch, self.grid) for x in self.trunk(self.mapping(z, cond))], 1)
        return images.cumsum(1).flatten(1, 2) if self.training else images.sum(1)


def all_stages(family: str, x: Tensor, channels: int, stages: int) -> Tensor:
    """x (B, K C, H, W), or an image alone, which stands for each of its stages."""
    if x.shape[1] == channels:
        return x.repeat(1, stages, 1, 1)
    if x.shape[1] != stages * channels:
        raise UserError(
            f"{family}: G draws {x.shape[1] // channels} stages, D sees {stages}; set generator.stages and "
            "discriminator.stages to the same"
        )
    return x


class ClassHead(nn.Module):
    """A logit of normalised features; with classes, their product with a mapped embedding of the class."""

    def __init__(self, width: int, classes: int, embed: int) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.out = glorot(nn.Linear(width, embed if classes else 1))
        self.of_class = nn.Sequential(class_embedding(classes, embed), slow_mlp(embed, embed)) if classes else None

    def forward(self, features: Tensor, cond: Tensor | None) -> Tensor:
        """features (B, E), cond (B,) or None -> (B,)."""
        y = self.out(self.norm(features))
        return y.squeeze(1) if self.of_class is None else (y * self.of_class(cond)).sum(1)


@discriminators.register("gat")
class GATDiscriminator(nn.Module):
    """All stages of a patch in one token, a class token beside them, blocks, and a logit of the class token."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: PositiveInt = 64,  # these as of the generator
        depth: NonNegativeInt = 4,
        head: PositiveInt = 32,
        patch: PositiveInt = 4,
        stages: PositiveInt = 4,
        embed: NonNegativeInt = 128,  # numbers of a class, which features are projected on
    ) -> None:
        super().__init__()
        grid, count = patches("gat", shape, patch), heads_of("gat", width, head)
        self.channels, self.patch, self.stages = shape[0], patch, stages
        self.from_patches = glorot(nn.Linear(stages * shape[0] * patch**2, width))
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("places", positions(grid, width), persistent=False)
        for name, turns in zip(("cos", "sin"), rotary(grid, width // count, still=1), strict=True):
            self.register_buffer(name, turns, persistent=False)
        self.blocks = nn.ModuleList(Block(width, count) for _ in range(depth))
        self.head = ClassHead(width, classes, embed)

    def forward(self, x: Tensor, cond: Tensor | None) -> Judgement:
        """x (B, K C, H, W) or (B, C, H, W), cond (B,) class ids or None -> one logit a sample, (B,)."""
        with attention_for(x, self):
            x = patchify(all_stages("gat", x, self.channels, self.stages), self.patch)
            x = self.from_patches(x) + self.places  # (B, N, E)
            x = torch.cat([self.token.expand(len(x), 1, -1), x], 1)
            for block in self.blocks:
                x = block(x, (self.cos, self.sin))
        return Judgement([self.head(x[:, 0], cond)], [x])
