"""`stylegan3`: an alias-free generator, equivariant to translation and rotation (Karras 2021, arXiv 2106.12423).

Written from the paper: configuration T and, with `rotation`, configuration R. Its discriminator is `stylegan2`.

Legend: B batch, C image channels, H W image size, h w a layer's grid with its margins, S numbers of a style,
N layers, L = N + 2 styles: of the input, of each layer, of the image. The unit of length is the image's shorter side.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.errors import UserError
from mulligan.core.network import Generator
from mulligan.core.registry import generators
from mulligan.core.sample import Sample
from mulligan.models.stylegan2 import Mapping
from mulligan.nn.equalised import EqualLinear
from mulligan.nn.filters import Band, FilteredAct
from mulligan.nn.style import ModulatedConv2d

FIRST_CUTOFF, FIRST_STOP, LAST_STOP = 2.0, 2**2.1, 2**0.3  # f_c,0, f_t,0, and f_t,N over f_c,N
HALF_LIFE = 20_000  # of the moving averages of magnitudes, in samples
RANGE = 4.0  # black and white are at -4 and 4 before the last division

Number = float | Tensor


def bands(shape: tuple[int, ...], layers: int, critical: int, margin: int) -> list[Band]:
    """The output band of each layer (eq. 35, 36): cutoff and stopband grow geometrically up to the `critical` layers.

    The paper's sampling rates are powers of two; these are the image's, halved as long as the stopband fits. The last
    grid is the image, without margins. `shape` is (C, H, W), `margin` in samples on each side.
    """
    _, height, width = shape
    side = min(height, width)
    made = []
    for i in range(layers):
        t = min(i / (layers - critical), 1.0)
        cutoff = FIRST_CUTOFF * (side / 2 / FIRST_CUTOFF) ** t
        stop = FIRST_STOP * (side / 2 * LAST_STOP / FIRST_STOP) ** t
        halved = math.floor(math.log2(side / min(2 * stop, side)))
        rate, around = side / 2**halved, 2 * margin if i < layers - 1 else 0
        grid = -(-height // 2**halved) + around, -(-width // 2**halved) + around
        made.append(Band(cutoff, max(stop, rate / 2) - cutoff, rate, grid))
    return made


def _transformed(
    fx: Tensor, fy: Tensor, phases: Tensor, cos: Number, sin: Number, x: Number, y: Number
) -> tuple[Tensor, ...]:
    """Frequencies and phases of waves that are rotated about the centre, then shifted by (x, y)."""
    fx, fy = fx * cos - fy * sin, fx * sin + fy * cos
    return fx, fy, phases - fx * x - fy * y


class FourierFeatures(nn.Module):
    """Sine waves of random direction, frequency and phase, mixed; a style rotates and shifts them (app. F.1)."""

    def __init__(self, channels: int, band: Band, styles: int) -> None:
        super().__init__()
        self.band = band
        radius, angle = band.cutoff * torch.rand(channels).sqrt(), 2 * math.pi * torch.rand(channels)  # in a disc
        self.register_buffer("frequencies", torch.stack([radius * angle.cos(), radius * angle.sin()]))  # of x and y
        self.register_buffer("phases", torch.rand(channels))
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.place = EqualLinear(styles, 4)
        nn.init.zeros_(self.place.weight)
        with torch.no_grad():
            self.place.bias[0] = 1.0

    def forward(self, w: Tensor, turn: float, shift: tuple[float, float]) -> Tensor:
        """w (B, S) -> (B, channels, h, w), rotated by `turn` radians and then shifted by `shift`, (x, y)."""
        place = self.place(w).float()
        place = place / torch.hypot(place[:, :1], place[:, 1:2])  # (cos, sin) and a shift
        waves = _transformed(*self.frequencies, self.phases, *place.T[:, :, None])  # (B, channels) each
        fx, fy, phases = _transformed(*waves, math.cos(turn), math.sin(turn), *shift)
        rows, columns = (
            (torch.arange(size, device=w.device) + 0.5 - size / 2)[:, None] / self.band.rate for size in self.band.grid
        )
        along_y = fy[:, None] * rows + phases[:, None]  # (B, h, channels)
        waves = torch.sin(2 * math.pi * (along_y[:, :, None] + (fx[:, None] * columns)[:, None]))
        return (waves @ (self.weight * math.sqrt(2 / len(self.weight))).T).permute(0, 3, 1, 2)


class AliasFreeLayer(nn.Module):
    """A modulated convolution of input scaled to unit magnitude, then a filtered activation; none for the image."""

    def __init__(self, a: int, b: int, kernel: int, styles: int, filtered: FilteredAct | None) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(a, b, kernel, styles, demodulate=filtered is not None)
        self.bias = nn.Parameter(torch.zeros(b))
        self.filtered = filtered
        self.register_buffer("magnitude", torch.ones(()))  # mean square of the input, averaged over training

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x (B, a, h, w), w (B, S) -> (B, b, h', w')."""
        if self.training and self.conv.weight.requires_grad:  # once a step: in G's own turn
            with torch.no_grad():
                square = torch.linalg.vector_norm(x.detach().float()).square() / x.numel()
                self.magnitude.lerp_(square, 1 - 0.5 ** (len(x) / HALF_LIFE))
        x = self.conv(x, w, gain=self.magnitude.rsqrt()) + self.bias[:, None, None]
        return x if self.filtered is None else self.filtered(x)


class AliasFreeSynthesis(nn.Module):
    """Fourier features, layers, an image."""

    def __init__(
        self, shape: tuple[int, ...], made: list[Band], critical: int, widths: list[int], styles: int, rotation: bool
    ) -> None:
        super().__init__()
        kernel, round_until = (1, len(made) - critical) if rotation else (3, 0)
        self.input = FourierFeatures(widths[0], made[0], styles)
        self.layers = nn.ModuleList(
            AliasFreeLayer(a, b, kernel, styles, FilteredAct(before, after, radial=i < round_until))
            for i, ((a, b), (before, after)) in enumerate(
                zip(pairwise([widths[0], *widths]), pairwise([made[0], *made]), strict=True)
            )
        )
        self.to_image = AliasFreeLayer(widths[-1], shape[0], 1, styles, None)
        self.count = len(made) + 2  # L

    def forward(self, ws: Tensor, turn: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> Tensor:
        """ws (B, L, S), a style for each layer -> (B, C, H, W), unbounded as in the paper.

        The whole picture may be rotated by `turn` radians, then shifted by `shift`, (x, y) in shorter sides.
        """
        x = self.input(ws[:, 0], turn, shift)
        for index, layer in enumerate(self.layers, 1):
            x = layer(x, ws[:, index])
        return self.to_image(x, ws[:, -1]) / RANGE


@generators.register("stylegan3", kinds={"image"}, takes={"class"})
class StyleGAN3Generator(Generator):
    """`mapping` and `synthesis`: Fourier features, then layers with filtered activations. No noise, no style mixing."""

    has_styles = True

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        rotation: bool = False,  # configuration R: equivariant to rotation as well; 1x1 kernels, twice the channels
        layers: NonNegativeInt = 8,  # N, layers of the synthesis, for any image size
        critical: NonNegativeInt = 2,  # critically sampled layers: the last so many use the whole band of their grid
        margin: NonNegativeInt = 6,  # samples on each side of every grid but the last
        base: PositiveInt = 1024,  # channels times twice the cutoff, in cycles per image side
        most: PositiveInt = 48,  # channels of a layer, at most
        z: NonNegativeInt = 64,  # noise numbers
        styles: PositiveInt = 64,  # S, numbers in a style
        depth: NonNegativeInt = 2,  # dense layers of the mapping
        rate: float = 0.01,  # learning rate of the mapping divided by that of the other layers
    ) -> None:
        super().__init__()
        shape = sample.shape
        if min(shape[1:]) < 8:
            near = "x".join(str(max(8, side)) for side in shape[1:])
            raise UserError(
                f"stylegan3 makes images with sides of 8 or more, not {shape[1]}x{shape[2]}; try --size {near}"
            )
        if not 0 < critical < layers:
            raise UserError(f"stylegan3: critical={critical} must be between 1 and layers - 1, which is {layers - 1}")
        made = bands(shape, layers, critical, margin)
        base, most = base * (1 + rotation), most * (1 + rotation)
        widths = [min(max(1, round(base / (2 * band.cutoff))), most) for band in made]
        self.z_shape = (z,)
        self.mapping = Mapping(z, condition.classes, styles, depth, rate)
        self.synthesis = AliasFreeSynthesis(shape, made, critical, widths, styles, rotation)

    def styled(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), `class` (B,) or none -> a style for each layer, (B, L, S), all the same."""
        return self.mapping(z, cond.get("class"))[:, None].expand(-1, self.synthesis.count, -1)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), `class` (B,) or none -> (B, C, H, W), unbounded."""
        return self.synthesis(self.styled(z, cond))
