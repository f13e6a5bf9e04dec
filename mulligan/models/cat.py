"""`cat`: a transformer that draws coarse to fine, each stage judged at its own scale (Hyun 2026, arXiv 2605.26449).

From the paper's abstract and project page: G is a transformer on one grid of tokens that draws in several stages. D is
one transformer that judges each stage at its own scale, separately. A term of G's ties the earlier stages to the last
(`stage-consistency`). No code is public, so all details are ours:

- Stages halve their sides; each cuts its image into the same grid of ever smaller patches, the finest of side `patch`.
- A stage's drawing is added to the one before it. Its head starts with small weights: with full ones, images for
  CIFAR-10 grew to thirty times the range [-1, 1] in 50 steps, where D has no slope.
- D shares its blocks among scales, but not the layers into and out of them.
- A style is mapped as in StyleGAN2: with `gat`'s mapping, whose first styles are smaller, a network of a laptop's size
  drew a single blank image.
- All else is as in `gat`.

A coarse stage is passed on at full size with its pixels repeated; a mean over them restores it exactly.

Legend: B batch, C image channels, H W image size, K stages, N tokens, E numbers in a token, S numbers of a style.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import discriminators, generators
from mulligan.core.sample import Sample
from mulligan.models.gat import RATE, ClassHead, Trunk, all_stages
from mulligan.models.sizes import patches
from mulligan.models.stylegan2 import Mapping
from mulligan.nn.resample import enlarge, shrink
from mulligan.nn.transformer import Block, attention_for, glorot, heads_of, patchify, positions, rotary, unpatchify

HEAD_GAIN = 0.1  # of a head's initial weights


def _scales(patch: int, stages: int) -> list[int]:
    """By how much each stage is coarser than the image: 4, 2, 1 for three stages.

    Raises UserError where a patch of a stage would be less than a pixel.
    """
    coarsest = 2 ** (stages - 1)
    if patch % coarsest:
        most = (patch & -patch).bit_length()
        raise UserError(
            f"cat: {stages} stages need a patch that is a multiple of {coarsest}, not {patch}; "
            f"set generator.stages and discriminator.stages to {most} or less"
        )
    return [coarsest >> k for k in range(stages)]


@generators.register("cat", kinds={"image"}, takes={"class"})
class CATGenerator(Generator):
    """A mapping from noise and class to a style, and a trunk with heads that draw larger and larger images."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # numbers in a token, and of a style
        depth: NonNegativeInt = 6,  # blocks
        head: PositiveInt = 32,  # numbers in an attention head, at most
        patch: PositiveInt = 4,  # side of the square of pixels of the finest stage that is one token
        stages: PositiveInt = 3,  # images that D sees, each of twice the sides of the one before it
        z: NonNegativeInt = 64,  # noise numbers
    ) -> None:
        super().__init__()
        self.patch_grid, self.patch = patches("cat", sample.shape, patch), patch
        self.stage_count, self.z_shape = stages, (z,)
        self.scales = _scales(patch, stages)
        self.mapping = Mapping(z, condition.classes, width, 2, RATE)
        numbers = [sample.shape[0] * (patch // scale) ** 2 for scale in self.scales]
        self.trunk = Trunk("cat", self.patch_grid, width, depth, head, width, numbers, gain=HEAD_GAIN)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z) -> (B, C, H, W), unbounded; in training (B, K C, H, W)."""
        image, drawn = None, []
        for scale, tokens in zip(self.scales, self.trunk(self.mapping(z, cond.get("class"))), strict=True):
            more = unpatchify(tokens, self.patch // scale, self.patch_grid)  # (B, C, H / scale, W / scale)
            image = more if image is None else enlarge(image, 2) + more
            drawn.append(enlarge(image, scale))
        return torch.cat(drawn, 1) if self.training else drawn[-1]


@discriminators.register("cat", kinds={"image"}, takes={"class"})
class CATDiscriminator(Discriminator):
    """Each stage, reduced to its own scale, through the same blocks, to a logit of its own."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # numbers in a token
        depth: NonNegativeInt = 4,  # blocks
        head: PositiveInt = 32,  # numbers in an attention head, at most
        patch: PositiveInt = 4,  # side of the square of pixels of the finest stage that is one token
        stages: PositiveInt = 3,  # images of a sample: as many as the generator's
        embed: NonNegativeInt = 128,  # numbers of a class, which features are projected on
    ) -> None:
        super().__init__()
        channels, grid, count = sample.shape[0], patches("cat", sample.shape, patch), heads_of("cat", width, head)
        self.channels, self.patch, self.stage_count, self.scales = channels, patch, stages, _scales(patch, stages)
        self.from_patches = nn.ModuleList(glorot(nn.Linear(channels * (patch // s) ** 2, width)) for s in self.scales)
        self.tokens = nn.Parameter(0.02 * torch.randn(stages, width))
        self.register_buffer("positions", positions(grid, width), persistent=False)
        for name, turns in zip(("cos", "sin"), rotary(grid, width // count, still=1), strict=True):
            self.register_buffer(name, turns, persistent=False)
        self.blocks = nn.ModuleList(Block(width, count) for _ in range(depth))
        self.heads = nn.ModuleList(ClassHead(width, condition.classes, embed) for _ in self.scales)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, K C, H, W) or (B, C, H, W) -> a logit for each stage, K of (B,)."""
        with attention_for(x, self):
            tokens = []
            stages = all_stages("cat", x, self.channels, self.stage_count).split(self.channels, 1)
            for stage, scale, layer, token in zip(stages, self.scales, self.from_patches, self.tokens, strict=True):
                cut = patchify(shrink(stage, scale), self.patch // scale)
                tokens.append(torch.cat([token.expand(len(x), 1, -1), layer(cut) + self.positions], 1))
            together = torch.cat(tokens)  # (K B, 1 + N, E): stages do not attend to one another
            for block in self.blocks:
                together = block(together, (self.cos, self.sin))
        features, ids = list(together.chunk(self.stage_count)), cond.get("class")
        return Judgement([head(f[:, 0], ids) for head, f in zip(self.heads, features, strict=True)], features)
