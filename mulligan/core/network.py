"""The base classes of generators and discriminators: what the training loop and the tools may ask of them.

Capabilities are attributes with defaults, so that no code has to guess them. A network declares where it is registered
which kinds of samples and which fields of a condition it takes (`registry.Registry.register`).

Legend: B batch, C channels, S size of a style, L layers that take one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition


class Generator(nn.Module):
    """`G(z, cond)` -> samples (B, *shape). Built from `(sample, condition, *, options)`."""

    z_shape: tuple[int, ...]  # of the noise of one sample; (0,) where it takes none
    stage_count: int = 1  # in training: images of each sample, coarse to fine, concatenated on the channel axis
    scales: Sequence[int] = ()  # the factor by which each stage is coarser than the sample; (): no stage is
    grid: int = 1  # if it takes images of any size: tiles of a larger image must begin at multiples of this
    two_way: bool = False  # it translates in both directions between two sets, selected by the condition's `side`
    has_styles: bool = False  # it has `G.styled(z, cond)` -> (B, L, S), and `G.synthesis(styles)` with `count` = L
    has_heads: bool = False  # it has `G.heads` and `G.heads_of_made`, with which the patch-nce terms compare patches

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        raise NotImplementedError

    if TYPE_CHECKING:  # torch declares only that a module can be called

        def __call__(self, z: Tensor, cond: Condition) -> Tensor: ...


class Discriminator(nn.Module):
    """`D(x, cond)` -> Judgement. Built from `(sample, condition, *, options)`."""

    two_way: bool = False  # it judges samples of two sets, selected by the condition's `side`
    unconditional: bool = False  # it judges samples without the generator's condition
    redraws: bool = False  # it has `D.redrawn(features, real)` -> pairs (reconstruction, target)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        raise NotImplementedError

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, cond: Condition) -> Judgement: ...
