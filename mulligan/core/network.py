"""What the loop and the tools may ask of a generator and of a discriminator, with what most of them answer.

Capabilities are attributes with defaults, so that nobody guesses them. What kinds of samples a network takes and which
fields of a condition, it declares where it is registered (`registry.Registry.register`).

Legend: B batch, C channels, S numbers of a style, L layers that take one.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition


class Generator(nn.Module):
    """`G(z, cond)` -> samples (B, *shape). Built from `(sample, condition, *, options)`."""

    z_shape: tuple[int, ...]  # of the noise of one sample; (0,) where it takes none
    stage_count: int = (
        1  # in training, so many drawings of a sample, coarse to fine, one after the other on the channels
    )
    scales: Sequence[int] = ()  # by how much each stage is coarser than the sample; (): none is
    grid: int = 1  # of any size: tiles of a larger picture are to begin at multiples of this
    two_way: bool = False  # it goes both ways between two sets; the condition's `side` says which
    has_styles: bool = False  # `G.styled(z, cond)` -> (B, L, S), and `G.synthesis(styles)`, which has `count` = L
    has_heads: bool = False  # `G.heads` and `G.heads_of_made`, by which the patch-nce terms compare patches

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        raise NotImplementedError


class Discriminator(nn.Module):
    """`D(x, cond)` -> Judgement. Built from `(sample, condition, *, options)`."""

    two_way: bool = False  # it judges samples of two sets; the condition's `side` says which
    unconditional: bool = False  # it judges samples alone, whatever the generator was told
    redraws: bool = False  # `D.redrawn(features, real)` -> pairs of what it drew of a sample and what it should have

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        raise NotImplementedError
