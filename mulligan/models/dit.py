"""`dit`: a diffusion transformer used in a single step, from noise of an image's shape to the image.

The blocks of Peebles, Xie 2022 (arXiv 2212.09748) without a timestep, as G and as D of adversarial flow models (Lin
2025, arXiv 2511.22475), written from the papers' descriptions. D gets the class in every block, as G does. Data without
classes have a single one.

Legend: B batch, C image channels, H W image size, N tokens, E numbers in a token.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import discriminators, generators
from mulligan.core.sample import Sample
from mulligan.models.sizes import patches
from mulligan.nn.transformer import (
    DiTBlock,
    Modulation,
    attention_for,
    glorot,
    heads_of,
    patchify,
    positions,
    unpatchify,
)


class DiT(nn.Module):
    """Patches, at fixed positions, through blocks modulated by the class, to a few numbers for each."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        width: int,
        depth: int,
        head: int,
        patch: int,
        numbers: int,
        *,
        token: bool,  # before the patches, one that stands for the whole image
    ) -> None:
        super().__init__()
        self.patch_grid, self.patch = patches("dit", shape, patch), patch
        count = heads_of("dit", width, head)
        self.from_patches = glorot(nn.Linear(shape[0] * patch**2, width))
        self.register_buffer("positions", positions(self.patch_grid, width), persistent=False)
        self.token = nn.Parameter(0.02 * torch.randn(width)) if token else None
        self.embed = nn.Embedding(max(1, classes), width)  # N(0, 1): DiT's is smaller, but is added to a timestep's
        self.blocks = nn.ModuleList(DiTBlock(width, count, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = Modulation(width, width, 2, gain=0.0)
        # zero for G. Not for D: its blocks start as the identity, so with zero here its token would never learn
        self.out = glorot(nn.Linear(width, numbers), gain=1.0 if token else 0.0)

    def forward(self, x: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (B, C, H, W), class ids (B,) or None -> numbers (B, N, numbers), and the tokens (B, N, E) before them."""
        style = self.embed(torch.zeros(len(x), dtype=torch.long, device=x.device) if ids is None else ids)
        x = self.from_patches(patchify(x, self.patch)) + self.positions
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), 1, -1), x], 1)
        for block in self.blocks:
            x = block(x, style)
        shift, scale = self.modulation(style)
        return self.out(self.norm(x) * (1 + scale) + shift), x


@generators.register("dit", kinds={"image"}, takes={"class"})
class DiTGenerator(Generator):
    """Noise of the image's shape through a DiT to the image."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # numbers in a token
        depth: NonNegativeInt = 4,  # blocks
        head: PositiveInt = 32,  # numbers in an attention head, at most
        patch: PositiveInt = 4,  # side of the square of pixels that is one token
    ) -> None:
        super().__init__()
        self.z_shape = sample.shape
        numbers = sample.shape[0] * patch**2
        self.net = DiT(sample.shape, condition.classes, width, depth, head, patch, numbers, token=False)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, C, H, W) -> (B, C, H, W), unbounded."""
        return unpatchify(self.net(z, cond.get("class"))[0], self.net.patch, self.net.patch_grid)


@discriminators.register("dit", kinds={"image"}, takes={"class"})
class DiTDiscriminator(Discriminator):
    """The same DiT over an image, with one more token, whose single number is the logit."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # numbers in a token
        depth: NonNegativeInt = 4,  # blocks
        head: PositiveInt = 32,  # numbers in an attention head, at most
        patch: PositiveInt = 4,  # side of the square of pixels that is one token
    ) -> None:
        super().__init__()
        self.net = DiT(sample.shape, condition.classes, width, depth, head, patch, 1, token=True)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W) -> one logit a sample, (B,)."""
        with attention_for(x, self):
            numbers, features = self.net(x, cond.get("class"))
        return Judgement([numbers[:, 0, 0]], [features])
