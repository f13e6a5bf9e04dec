"""`dit`: a diffusion transformer that is asked once: from noise of an image's shape to the image.

The blocks of Peebles, Xie 2022 (arXiv 2212.09748) without a timestep, as G and as D of adversarial flow models (Lin
2025, arXiv 2511.22475), written from the papers' descriptions. D is told the class in every block, as G is; data
without classes are all of one.

Legend: B batch, C image channels, H W image size, N tokens, E numbers in a token.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.registry import discriminators, generators
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
    """Patches, at fixed positions, through blocks that the class steers, to a few numbers for each."""

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
        self.grid, self.patch = patches("dit", shape, patch), patch
        count = heads_of("dit", width, head)
        self.from_patches = glorot(nn.Linear(shape[0] * patch**2, width))
        self.register_buffer("places", positions(self.grid, width), persistent=False)
        self.token = nn.Parameter(0.02 * torch.randn(width)) if token else None
        self.embed = nn.Embedding(max(1, classes), width)  # N(0, 1): DiT's are smaller, but have a timestep beside them
        self.blocks = nn.ModuleList(DiTBlock(width, count, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = Modulation(width, width, 2, gain=0.0)
        # zero for G; the token of a new D has seen no image yet, and one that nothing is read from would never see any
        self.out = glorot(nn.Linear(width, numbers), gain=1.0 if token else 0.0)

    def forward(self, x: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (B, C, H, W), cond (B,) or None -> numbers (B, N, numbers), and the tokens (B, N, E) they are read from."""
        style = self.embed(torch.zeros(len(x), dtype=torch.long, device=x.device) if cond is None else cond)
        x = self.from_patches(patchify(x, self.patch)) + self.places
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), 1, -1), x], 1)
        for block in self.blocks:
            x = block(x, style)
        shift, scale = self.modulation(style)
        return self.out(self.norm(x) * (1 + scale) + shift), x


@generators.register("dit")
class DiTGenerator(nn.Module):
    """Noise of the image's shape through a DiT, which answers with the image."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: PositiveInt = 64,  # numbers in a token
        depth: NonNegativeInt = 4,  # blocks
        head: PositiveInt = 32,  # numbers in a head of attention, at most
        patch: PositiveInt = 4,  # side of the square of pixels that a token stands for
    ) -> None:
        super().__init__()
        self.z_shape = shape
        self.net = DiT(shape, classes, width, depth, head, patch, shape[0] * patch**2, token=False)

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, C, H, W), cond (B,) class ids or None -> (B, C, H, W), unbounded."""
        return unpatchify(self.net(z, cond)[0], self.net.patch, self.net.grid)


@discriminators.register("dit")
class DiTDiscriminator(nn.Module):
    """The same DiT over an image, with one token more, whose one number is the logit."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: PositiveInt = 64,  # these as of the generator
        depth: NonNegativeInt = 4,
        head: PositiveInt = 32,
        patch: PositiveInt = 4,
    ) -> None:
        super().__init__()
        self.net = DiT(shape, classes, width, depth, head, patch, 1, token=True)

    def forward(self, x: Tensor, cond: Tensor | None) -> Judgement:
        """x (B, C, H, W), cond (B,) class ids or None -> one logit a sample, (B,)."""
        with attention_for(x, self):
            said, features = self.net(x, cond)
        return Judgement([said[:, 0, 0]], [features])
