"""`fastgan`: a light generator with skip-layer excitation, and a self-supervised discriminator (Liu 2021).

Written from the paper only (arXiv 2101.04775): skip-layer excitation and gated linear units in G (sec. 3.1); a D that
encodes an image for small decoders (sec. 3.2), which the `reconstruction` term trains.

Legend: B batch, C image channels, H W image size, h w the base grid.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import discriminators, generators
from mulligan.core.sample import Sample
from mulligan.models.sizes import halvings
from mulligan.nn.patch_head import PatchHead
from mulligan.nn.resample import enlarge, shrink

SKIPPED = 4  # doublings between a grid and the one it excites, or all that there are: 8x8 -> 128x128
SMALLEST = 7  # shorter side of the last grid of D, at least, where the image has two or more halvings
STD = 0.02  # of initial weights


def _initialise(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=STD)


class Noise(nn.Module):
    """x + strength * noise, one number per pixel; in evaluation the noise is fixed. The strength starts at 0."""

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, *grid))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.strength * (torch.randn_like(x[:, :1]) if self.training else self.noise)


def _gated(a: int, b: int, grid: tuple[int, int]) -> nn.Sequential:
    """A convolution, noise, batch norm, and a gated linear unit: half of the channels gate the other half."""
    conv = nn.Conv2d(a, 2 * b, 3, padding=1, bias=False)
    return nn.Sequential(conv, Noise(grid), nn.BatchNorm2d(2 * b), nn.GLU(1))


class Excitation(nn.Module):
    """Skip-layer excitation: a summary of a coarse grid scales the channels of a fine one (sec. 3.1, eq. 1)."""

    def __init__(self, a: int, b: int, grid: tuple[int, int], factor: int) -> None:
        super().__init__()
        self.factor = factor  # from the base grid to the coarse one
        self.gather, self.gate = nn.Conv2d(a, b, grid), nn.Conv2d(b, b, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """low (B, a, ., .), high (B, b, ., .) -> like `high`."""
        whole = F.leaky_relu(self.gather(shrink(low, self.factor)), 0.1)  # (B, b, 1, 1)
        return high * self.gate(whole).sigmoid()


@generators.register("fastgan", kinds={"image"}, takes={"class"})
class FastGANGenerator(Generator):
    """A gated dense layer to the base grid; doublings with two or one gated convolutions, alternating; excitations."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # channels of the base grid; halved at every doubling
        least: PositiveInt = 16,  # channels of a layer, at least
        z: NonNegativeInt = 64,  # noise numbers
        embed: NonNegativeInt = 64,  # numbers in the class embedding
    ) -> None:
        super().__init__()
        shape, classes = sample.shape, condition.classes
        count = halvings("fastgan", shape)
        grids = [(shape[1] >> i, shape[2] >> i) for i in reversed(range(count + 1))]
        widths = [max(width >> i, min(least, width)) for i in range(count + 1)]
        self.z_shape = (z,)
        self.embed = nn.Embedding(classes, embed) if classes else None
        self.base_grid = (2 * width, *grids[0])
        self.dense = nn.Linear(z + (embed if classes else 0), torch.Size(self.base_grid).numel(), bias=False)
        self.first = nn.Sequential(nn.BatchNorm2d(2 * width), nn.GLU(1))
        stages = nn.ModuleList()
        for index, ((a, b), grid) in enumerate(zip(pairwise(widths), grids[1:], strict=True)):
            more = [] if index % 2 else [_gated(b, b, grid)]
            stages.append(nn.Sequential(_gated(a, b, grid), *more))
        self.stages = stages
        self.skipped = min(SKIPPED, count)
        self.excitations = nn.ModuleList(
            Excitation(widths[i], widths[i + self.skipped], grids[0], 2**i) for i in range(count - self.skipped + 1)
        )
        self.to_image = nn.Conv2d(widths[-1], shape[0], 3, padding=1)
        _initialise(self)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), `class` (B,) or none -> (B, C, H, W) in [-1, 1]."""
        if self.embed is not None:
            z = torch.cat([z, self.embed(cond["class"])], 1)
        x = self.dense(z).unflatten(1, self.base_grid).contiguous(memory_format=torch.channels_last)
        grids = [self.first(x)]  # (B, width, h, w), then finer ones up to (B, ., H, W)
        stages = self.stages
        for index, stage in enumerate(stages, start=1):
            x = stage(enlarge(grids[-1], 2))
            if index >= self.skipped:
                x = self.excitations[index - self.skipped](grids[index - self.skipped], x)
            grids.append(x)
        return self.to_image(grids[-1]).tanh()


def _plain(a: int, b: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(a, b, kernel, stride, padding=(kernel - 1) // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(b), nn.LeakyReLU(0.2, inplace=True))


class Halving(nn.Module):
    """Half the sides: the mean of two branches, two convolutions, and mean pooling with a 1x1 convolution."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.deep = nn.Sequential(_plain(a, b, 4, stride=2), _plain(b, b, 3))
        self.beside = _plain(a, b, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, a, h, w) -> (B, b, h / 2, w / 2)."""
        return (self.deep(x) + self.beside(shrink(x, 2))) / 2


class Decoder(nn.Sequential):
    """(B, a, h, w) -> an image (B, C, ., .), both sides doubled `doublings` times; one gated convolution each."""

    def __init__(self, a: int, width: int, channels: int, doublings: int) -> None:
        layers: list[nn.Module] = []
        for index in range(doublings):
            conv = nn.Conv2d(width if index else a, 2 * width, 3, padding=1, bias=False)
            layers += [nn.Upsample(scale_factor=2), conv, nn.BatchNorm2d(2 * width), nn.GLU(1)]
        super().__init__(*layers, nn.Conv2d(width if doublings else a, channels, 3, padding=1), nn.Tanh())


@discriminators.register("fastgan", kinds={"image"}, takes={"class"})
class FastGANDiscriminator(Discriminator):
    """Residual halvings to a grid of about 8x8, then one logit per patch of it.

    Its features are the last two grids; `redrawn` decodes them, to show how much of the image they contain.
    """

    redraws = True

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 16,  # channels at the image's resolution; doubled at every halving
        most: PositiveInt = 64,  # channels of a layer, at most
        decoder: PositiveInt = 16,  # channels of the decoders
        part: float = 0.5,  # share of both sides of the finer grid that one decoder gets, in (0, 1]
        spectral: bool = True,  # spectral norm of every layer except those of the decoders
    ) -> None:
        super().__init__()
        shape = sample.shape
        count = halvings("fastgan", shape)
        if count > 1 and min(shape[1:]) >> count < SMALLEST:
            count -= 1
        widths = [min(width << i, max(width, most)) for i in range(count + 1)]
        self.from_image = nn.Conv2d(shape[0], widths[0], 3, padding=1)
        self.halvings = nn.ModuleList(Halving(a, b) for a, b in pairwise(widths))
        self.last = _plain(widths[-1], widths[-1], 1)
        self.head = PatchHead(widths[-1], 4, condition.classes)
        self.count, self.part = count, part
        doublings = [min(SKIPPED, count - 1), min(SKIPPED, count)]
        self.of_part, self.of_whole = (
            Decoder(a, decoder, shape[0], times) for a, times in zip(widths[-2:], doublings, strict=True)
        )
        _initialise(self)
        if spectral:
            for layer in [self.from_image, *self.halvings.modules(), *self.last, self.head.logit]:
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W), `class` (B,) or none -> logits (B, p, q) of patches; features: two grids (B, ., ., .)."""
        x = F.leaky_relu(self.from_image(x), 0.2)
        grids = [x]
        for halving in self.halvings:
            grids.append(halving(grids[-1]))
        return Judgement([self.head(self.last(grids[-1]), cond.get("class"))], grids[-2:])

    def redrawn(self, features: list[Tensor], x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Pairs (decoded, target): of a random part of x (B, C, H, W), and of the whole image.

        Targets are downsampled to the size that the decoders reach.
        """
        fine, coarse = features
        sides = [max(1, round(self.part * side)) for side in fine.shape[2:]]
        top, left = (int(torch.randint(a - b + 1, ())) for a, b in zip(fine.shape[2:], sides, strict=True))
        scale = 2 ** (self.count - 1)

        def cut(y: Tensor, by: int) -> Tensor:
            return y[..., by * top : by * (top + sides[0]), by * left : by * (left + sides[1])]

        decoded, targets = (self.of_part(cut(fine, 1)), self.of_whole(coarse)), (cut(x, scale), x)
        return [(a, shrink(b, b.shape[2] // a.shape[2])) for a, b in zip(decoded, targets, strict=True)]
