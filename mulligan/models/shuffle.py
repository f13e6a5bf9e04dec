"""`shuffle`: small residual networks without normalisation that change resolution by pixel shuffling.

All convolutions run at half the image's resolution or less: the last doubling is a rearrangement (Shi 2016, arXiv
1609.05158). On a CPU, where the cost of a layer is its pixels times its channels squared, this allows several times
more steps a minute than strided convolutions of the same capacity.

Legend: B batch, C image channels, H W image size, h w the base grid, K classes.
"""

from __future__ import annotations

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
from mulligan.nn.head import ClassBy, Head

LARGEST_GRID, SMALLEST_SIDE = 32, 16
LEAK = 0.003  # of x, added to tanh(x): else G cannot leave an all-black image, where tanh is flat; more adds noise


def doublings(shape: tuple[int, ...]) -> int:
    """How often the base grid is doubled to (H, W): twice, and on while both sides allow and the base stays above 4.

    Raises UserError for sizes that this cannot reach, naming a near one that it can.
    """
    _, height, width = shape
    count = 0
    while height % 2 ** (count + 1) == width % 2 ** (count + 1) == 0 and (
        count < 2 or min(height, width) / 2 ** (count + 1) > 4
    ):
        count += 1
    if count < 2 or min(height, width) < SMALLEST_SIDE or max(height, width) / 2**count > LARGEST_GRID:
        step = 2 ** max(2, (max(height, width) - 1).bit_length() - 4)
        near = "x".join(str(max(SMALLEST_SIDE, round(side / step) * step)) for side in (height, width))
        raise UserError(
            f"shuffle networks need sides of at least {SMALLEST_SIDE} that are multiples of {step} at this size, "
            f"not {height}x{width}; try --size {near}"
        )
    return count


class Residual(nn.Module):
    """x + conv(act(conv(act(x)))), the identity at first: the last convolution starts at zero (Zhang 2019, Fixup)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(_act(self.first(_act(x))))


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def _widths(width: int, stages: int) -> list[int]:
    """Channels of each stage from the base grid up: halved at every doubling, but never below 16 or `width`."""
    return [max(width // 2**i, min(16, width)) for i in range(stages)]


@generators.register("shuffle", kinds={"image"}, takes={"class"})
class ShuffleGenerator(Generator):
    """Noise and class to image: a dense layer to the base grid, residual stages, a pixel shuffle after each."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 32,  # channels at the base grid; halved at every doubling, down to 16
        blocks: NonNegativeInt = 2,  # residual blocks a stage
        z: NonNegativeInt = 64,  # noise numbers
    ) -> None:
        super().__init__()
        stages, classes = doublings(sample.shape), condition.classes
        channels, height, side = sample.shape
        widths = _widths(width, stages)
        self.z_shape = (z,)
        self.base = (width, height >> stages, side >> stages)
        self.embed = nn.Embedding(classes, z) if classes else None
        self.dense = nn.Linear(z * (2 if classes else 1), torch.Size(self.base).numel())
        self.stages = nn.ModuleList(nn.Sequential(*(Residual(w) for _ in range(blocks))) for w in widths)
        self.ups = nn.ModuleList(nn.Conv2d(a, 4 * b, 1) for a, b in pairwise(widths))
        self.to_image = nn.Conv2d(widths[-1], 4 * channels, 3, padding=1)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z) -> (B, C, H, W) in [-1, 1], or a little beyond."""
        if self.embed is not None:
            z = torch.cat([z, self.embed(cond["class"])], 1)  # (B, 2 z)
        x = self.dense(z).unflatten(1, self.base)  # (B, width, h, w)
        x = x.contiguous(memory_format=torch.channels_last)
        first, *others = self.stages
        x = first(x)
        for up, stage in zip(self.ups, others, strict=True):
            x = stage(F.pixel_shuffle(up(x), 2))  # twice the side, half the channels
        x = F.pixel_shuffle(self.to_image(_act(x)), 2)  # (B, C, H, W)
        return x.tanh() + LEAK * x


@discriminators.register("shuffle", kinds={"image"}, takes={"class"})
class ShuffleDiscriminator(Discriminator):
    """The mirror image: pixel unshuffles between residual stages, a dense layer, and a head that gets the class."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 16,  # channels at half the image's resolution; doubled at every halving
        blocks: NonNegativeInt = 2,  # residual blocks a stage
        features: PositiveInt = 128,  # numbers that the base grid is reduced to before the head
        class_by: ClassBy = "projection",  # how D uses classes: projection, classifier, both, twin or contrastive
    ) -> None:
        super().__init__()
        stages = doublings(sample.shape)
        channels, height, side = sample.shape
        widths = [width * 2**i for i in range(stages)]
        self.from_image = nn.Conv2d(4 * channels, width, 3, padding=1)
        self.stages = nn.ModuleList(nn.Sequential(*(Residual(w) for _ in range(blocks))) for w in widths)
        self.downs = nn.ModuleList(nn.Conv2d(4 * a, b, 1) for a, b in pairwise(widths))
        self.dense = nn.Linear(widths[-1] * (height >> stages) * (side >> stages), features)
        self.head = Head(features, condition.classes, class_by)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W) -> one logit a sample, (B,)."""
        x = self.from_image(F.pixel_unshuffle(x, 2))  # (B, width, H / 2, W / 2)
        x = self.stages[0](x)
        for down, stage in zip(self.downs, self.stages[1:], strict=True):
            x = stage(down(F.pixel_unshuffle(x, 2)))  # half the side, twice the channels
        features = _act(self.dense(_act(x).flatten(1)))  # (B, features)
        return self.head(features, cond.get("class"), [x, features])
