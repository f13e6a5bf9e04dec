"""`cat`: a transformer that draws coarse to fine, each stage judged at its own scale (Hyun 2026, arXiv 2605.26449).

From the paper's abstract and project page: G is a transformer on one grid of tokens that draws in several stages; D is
one transformer that judges each stage at its own scale and sees none beside the others; a term of G's ties the earlier
stages to the last (`stage-consistency`). No code is public. Ours are all details: stages halve their sides; each cuts
its image into the same grid of ever smaller patches, the finest of side `patch`; what a stage draws is added to the one
before it, and at first is pale (in CIFAR-10's colours it otherwise outgrew [-1, 1] thirty times in 50 steps, past where
D has a slope); D shares its blocks among scales, but not the layers into and out of them; a style is mapped as
StyleGAN2's (with `gat`'s mapping, whose first styles are smaller, a laptop's size drew one blank picture); all else is
as in `gat`.

A coarse stage travels at full size, its pixels repeated, which a mean over them takes back without loss.

Legend: B batch, C image channels, H W image size, K stages, N tokens, E numbers in a token, S numbers of a style.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.errors import UserError
from mulligan.core.registry import discriminators, generators
from mulligan.models.gat import RATE, ClassHead, Trunk, all_stages
from mulligan.models.sizes import patches
from mulligan.models.stylegan2 import Mapping
from mulligan.nn.resample import enlarge, shrink
from mulligan.nn.transformer import Block, attention_for, glorot, heads_of, patchify, positions, rotary, unpatchify

PALE = 0.1  # of a head's weights, at first


def _scales(patch: int, stages: int) -> list[int]:
    """By how much each stage is coarser than the image. Raises UserError where its patches would be less than pixels.

    For three stages: 4, 2, 1.
    """
    coarsest = 2 ** (stages - 1)
    if patch % coarsest:
        most = (patch & -patch).bit_length()
        raise UserError(
            f"cat: {stages} stages need a patch that is a multiple of {coarsest}, not {patch}; "
            f"set generator.stages and discriminator.stages to {most} or less"
        )
    return [coarsest >> k for k in range(stages)]


@generators.register("cat")
class CATGenerator(nn.Module):
    """A mapping from noise and class to a style, and a trunk whose heads draw larger and larger images."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: PositiveInt = 64,  # numbers in a token, and of a style
        depth: NonNegativeInt = 6,  # blocks
        head: PositiveInt = 32,  # numbers in a head of attention, at most
        patch: PositiveInt = 4,  # side of the square of pixels of the image that a token stands for
        stages: PositiveInt = 3,  # each of twice the sides of the one before it
        z: NonNegativeInt = 64,  # noise numbers
    ) -> None:
        super().__init__()
        self.grid, self.patch, self.stages, self.z_shape = patches("cat", shape, patch), patch, stages, (z,)
        self.scales = _scales(patch, stages)
        self.mapping = Mapping(z, classes, width, 2, RATE)
        numbers = [shape[0] * (patch // scale) ** 2 for scale in self.scales]
        self.trunk = Trunk("cat", self.grid, width, depth, head, width, numbers, gain=PALE)

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, z), cond (B,) class ids or None -> (B, C, H, W), unbounded; in training (B, K C, H, W)."""
        image, drawn = None, []
        for scale, tokens in zip(self.scales, self.trunk(self.mapping(z, cond)), strict=True):
            more = unpatchify(tokens, self.patch // scale, self.grid)  # (B, C, H / scale, W / scale)
            image = more if image is None else enlarge(image, 2) + more
            drawn.append(enlarge(image, scale))
        return torch.cat(drawn, 1) if self.training else drawn[-1]


@discriminators.register("cat")
class CATDiscriminator(nn.Module):
    """Each stage, brought to its own scale, through the same blocks, to a logit of its own."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: PositiveInt = 64,  # these as of the generator
        depth: NonNegativeInt = 4,
        head: PositiveInt = 32,
        patch: PositiveInt = 4,
        stages: PositiveInt = 3,
        embed: NonNegativeInt = 128,  # numbers of a class, which features are projected on
    ) -> None:
        super().__init__()
        grid, count = patches("cat", shape, patch), heads_of("cat", width, head)
        self.channels, self.patch, self.stages, self.scales = shape[0], patch, stages, _scales(patch, stages)
        self.from_patches = nn.ModuleList(glorot(nn.Linear(shape[0] * (patch // s) ** 2, width)) for s in self.scales)
        self.tokens = nn.Parameter(0.02 * torch.randn(stages, width))
        self.register_buffer("places", positions(grid, width), persistent=False)
        for name, turns in zip(("cos", "sin"), rotary(grid, width // count, still=1), strict=True):
            self.register_buffer(name, turns, persistent=False)
        self.blocks = nn.ModuleList(Block(width, count) for _ in range(depth))
        self.heads = nn.ModuleList(ClassHead(width, classes, embed) for _ in self.scales)

    def forward(self, x: Tensor, cond: Tensor | None) -> Judgement:
        """x (B, K C, H, W) or (B, C, H, W), cond (B,) class ids or None -> a logit for each stage, K of (B,)."""
        with attention_for(x, self):
            tokens = []
            stages = all_stages("cat", x, self.channels, self.stages).split(self.channels, 1)
            for stage, scale, layer, token in zip(stages, self.scales, self.from_patches, self.tokens, strict=True):
                cut = patchify(shrink(stage, scale), self.patch // scale)
                tokens.append(torch.cat([token.expand(len(x), 1, -1), layer(cut) + self.places], 1))
            together = torch.cat(tokens)  # (K B, 1 + N, E): none sees another
            for block in self.blocks:
                together = block(together, (self.cos, self.sin))
        features = list(together.chunk(self.stages))
        return Judgement([head(f[:, 0], cond) for head, f in zip(self.heads, features, strict=True)], features)
