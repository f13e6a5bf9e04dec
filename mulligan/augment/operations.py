"""Differentiable augmentation: what D is shown in place of images, so that few images do not teach it by heart.

Every operation acts on fakes as on reals and passes G's gradient back (Zhao 2020, arXiv 2006.10738; Karras 2020,
arXiv 2006.06676), in plain tensor arithmetic that can be differentiated twice. A view is one draw of dice: it treats
the same sample alike however often it is shown, which penalties rely on; where a loss compares reals and fakes in
pairs, both of a pair are treated alike.

Legend: B batch, C channels, H W image size, n the first samples of a batch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.batch import append_dims
from mulligan.core.errors import UserError


class Dice:
    """What falls for the first `n` of `count` samples: the same for them whatever `n` is."""

    def __init__(self, seed: int, strength: float, count: int, n: int, device: torch.device) -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self.strength, self.count, self.n, self.device = strength, count, n, device

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(n,) in [low, high)."""
        drawn = torch.rand(self.count, generator=self.generator, device=self.device)
        return low + (high - low) * drawn[: self.n]

    def normal(self, *shape: int) -> Tensor:
        """(n, *shape) from N(0, 1)."""
        return torch.randn(self.count, *shape, generator=self.generator, device=self.device)[: self.n]

    def happens(self, share: float = 1.0) -> Tensor:
        """(n,) of 0 and 1: whether each is treated, with a probability of `share` times the strength."""
        return (self.uniform() < share * self.strength).float()


Matrix = Callable[[Dice, int, int], Tensor]
Change = Callable[[Tensor, Dice], Tensor]
MOVES: dict[str, Matrix] = {}  # (dice, H, W) -> (n, 3, 3): from where in the image a pixel is taken
COLOURS: dict[str, Matrix] = {}  # the same -> (n, 4, 4) on (r, g, b, 1)
CHANGES: dict[str, Change] = {}  # (images, dice) -> images


def _into(table: dict[str, Callable]) -> Callable[[Callable], Callable]:
    def add(function: Callable) -> Callable:
        table[function.__name__] = function
        return function

    return add


def _matrix(rows: list[list[Tensor | float]]) -> Tensor:
    """(n, k, k) of entries that are (n,) or a number."""
    n = next(entry for row in rows for entry in row if isinstance(entry, Tensor))
    return torch.stack([torch.stack([torch.zeros_like(n) + entry for entry in row], -1) for row in rows], -2)


def _scaling(y: Tensor, x: Tensor) -> Tensor:
    return _matrix([[x, 0, 0], [0, y, 0], [0, 0, 1]])


def _moving(y: Tensor, x: Tensor) -> Tensor:
    return _matrix([[1, 0, x], [0, 1, y], [0, 0, 1]])


def _turning(angle: Tensor) -> Tensor:
    return _matrix([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1]])


# Karras 2020, appendix B, with its distributions; all of them share one interpolation.


@_into(MOVES)
def flip(dice: Dice, height: int, width: int) -> Tensor:
    """Left for right, half of the time."""
    mirrored = 1 - 2 * dice.happens(0.5)
    return _scaling(torch.ones_like(mirrored), mirrored)


@_into(MOVES)
def quarter(dice: Dice, height: int, width: int) -> Tensor:
    """Any number of quarter turns; of half turns where the image is not square."""
    turns = dice.uniform(0, 4).floor() if height == width else 2 * dice.uniform(0, 2).floor()
    return _turning(dice.happens() * turns * math.pi / 2)


@_into(MOVES)
def shift(dice: Dice, height: int, width: int) -> Tensor:
    """By whole pixels, up to an eighth of the side."""
    does, y, x = dice.happens(), dice.uniform(-0.125, 0.125), dice.uniform(-0.125, 0.125)
    return _moving((does * y * height).round(), (does * x * width).round())


@_into(MOVES)
def scale(dice: Dice, height: int, width: int) -> Tensor:
    factor = torch.exp2(0.2 * dice.happens() * dice.normal())
    return _scaling(factor, factor)


@_into(MOVES)
def rotate(dice: Dice, height: int, width: int) -> Tensor:
    """By any angle."""
    return _turning(dice.happens() * dice.uniform(-math.pi, math.pi))


@_into(MOVES)
def stretch(dice: Dice, height: int, width: int) -> Tensor:
    """One side against the other."""
    factor = torch.exp2(0.2 * dice.happens() * dice.normal())
    return _scaling(1 / factor, factor)


@_into(MOVES)
def slide(dice: Dice, height: int, width: int) -> Tensor:
    """By parts of a pixel too: normal, with an eighth of the side."""
    does, y, x = dice.happens(), dice.normal(), dice.normal()
    return _moving(0.125 * does * y * height, 0.125 * does * x * width)


GREY = torch.full((3, 3), 1 / 3)  # onto the axis from black to white


def _colour(linear: Tensor, offset: Tensor | None = None) -> Tensor:
    """(n, 3, 3) and (n,) -> (n, 4, 4)."""
    matrix = F.pad(linear, (0, 1, 0, 1))
    matrix[:, 3, 3] = 1.0
    if offset is not None:
        matrix[:, :3, 3] = offset[:, None]
    return matrix


@_into(COLOURS)
def brightness(dice: Dice, height: int, width: int) -> Tensor:
    offset = 0.2 * dice.happens() * dice.normal()
    return _colour(torch.eye(3, device=dice.device).expand(dice.n, 3, 3), offset)


@_into(COLOURS)
def contrast(dice: Dice, height: int, width: int) -> Tensor:
    factor = torch.exp2(0.5 * dice.happens() * dice.normal())
    return _colour(factor[:, None, None] * torch.eye(3, device=dice.device))


@_into(COLOURS)
def invert(dice: Dice, height: int, width: int) -> Tensor:
    """Light for dark, colours kept, half of the time."""
    return _colour(torch.eye(3, device=dice.device) - 2 * dice.happens(0.5)[:, None, None] * GREY.to(dice.device))


@_into(COLOURS)
def hue(dice: Dice, height: int, width: int) -> Tensor:
    """Colours turned around the axis from black to white (Rodrigues's formula)."""
    angle = (dice.happens() * dice.uniform(-math.pi, math.pi))[:, None, None]
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=dice.device) / math.sqrt(3)
    grey, eye = GREY.to(dice.device), torch.eye(3, device=dice.device)
    return _colour(angle.cos() * eye + (1 - angle.cos()) * grey + angle.sin() * cross)


@_into(COLOURS)
def saturation(dice: Dice, height: int, width: int) -> Tensor:
    factor = torch.exp2(dice.happens() * dice.normal())[:, None, None]
    grey = GREY.to(dice.device)
    return _colour(grey + factor * (torch.eye(3, device=dice.device) - grey))


BANDS = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # what natural images have in octaves of frequency, lowest first


@_into(CHANGES)
def filtered(x: Tensor, dice: Dice) -> Tensor:
    """Four octaves of frequency, each louder or softer, the expected power kept."""
    *_, height, width = x.shape
    frequency = torch.hypot(
        torch.fft.fftfreq(2 * height, device=x.device)[:, None], torch.fft.rfftfreq(2 * width, device=x.device)
    )
    octave = (4 + torch.log2(frequency.clamp(min=1e-6))).clamp(0, 3)  # 0 up to 1/16 of the pixel rate, 3 from 1/2
    lobes = (1 - (octave - torch.arange(4, device=x.device)[:, None, None]).abs()).clamp(min=0)  # (4, 2 H, W + 1)
    gains = torch.ones(dice.n, 4, device=x.device)
    for band, _ in enumerate(BANDS):
        gain = torch.ones_like(gains)
        gain[:, band] = torch.exp2(dice.happens() * dice.normal())
        power = (torch.tensor(BANDS, device=x.device) * gain.square()).sum(1, keepdim=True)
        gains = gains * gain / power.sqrt()
    mirrored = torch.cat([x, x.flip(-1)], -1)
    mirrored = torch.cat([mirrored, mirrored.flip(-2)], -2)  # no edge where the transform wraps around
    response = torch.einsum("nb,bhw->nhw", gains, lobes)[:, None].to(x.dtype)
    return torch.fft.irfft2(torch.fft.rfft2(mirrored) * response, s=mirrored.shape[-2:])[..., :height, :width]


@_into(CHANGES)
def noise(x: Tensor, dice: Dice) -> Tensor:
    sigma = 0.1 * dice.happens() * dice.normal().abs()
    return x + append_dims(sigma, x.ndim) * dice.normal(*x.shape[1:])


@_into(CHANGES)
def cutout(x: Tensor, dice: Dice) -> Tensor:
    """A box of half the side, anywhere, becomes grey (DeVries, Taylor 2017)."""
    does, inside = append_dims(dice.happens(), x.ndim), torch.ones((), device=x.device, dtype=x.dtype)
    for axis, side in ((-2, x.shape[-2]), (-1, x.shape[-1])):
        place = (torch.arange(side, device=x.device) + 0.5) / side
        near = (place - dice.uniform()[:, None]).abs() < 0.25  # (n, side)
        inside = inside * (near[:, None, :, None] if axis == -2 else near[:, None, None, :])
    return x * (1 - does * inside)


@_into(CHANGES)
def color(x: Tensor, dice: Dice) -> Tensor:
    """DiffAugment's: brightness, saturation and contrast, the latter two about the image's own means."""
    does = append_dims(dice.happens(), x.ndim)
    light, bright = x[:, :3], append_dims(dice.uniform(-0.5, 0.5), x.ndim)
    light = light + does * bright
    for axes, low, high in (((1,), 0.0, 2.0), ((1, 2, 3), 0.5, 1.5)):
        factor = 1 + does * (append_dims(dice.uniform(low, high), x.ndim) - 1)
        mean = light.mean(axes, keepdim=True)
        light = mean + factor * (light - mean)
    return torch.cat([light, x[:, 3:]], 1)


@_into(CHANGES)
def translation(x: Tensor, dice: Dice) -> Tensor:
    """DiffAugment's: by whole pixels up to an eighth of the side; what comes in is grey."""
    *_, height, width = x.shape
    does = dice.happens()
    for axis, side in ((2, height), (3, width)):
        by = (does * dice.uniform(-0.125, 0.125) * side).round().long()
        place = torch.arange(side, device=x.device) + by[:, None]  # (n, side)
        place = append_dims(place[:, None], 4).transpose(2, axis)
        inside = (place >= 0) & (place < side)
        x = x.gather(axis, place.clamp(0, side - 1).expand_as(x)) * inside
    return x


OPERATIONS = (*MOVES, *COLOURS, *CHANGES)


def warp(x: Tensor, source: Tensor) -> Tensor:
    """(n, C, H, W) seen through (n, 3, 3), which takes a pixel, counted from the centre, to where its colour is from.

    Bilinear; beyond its edges the image is mirrored. Exact where pixels fall on pixels.
    """
    n, channels, height, width = x.shape
    y, x_ = (torch.arange(side, device=x.device, dtype=x.dtype) - (side - 1) / 2 for side in (height, width))
    y, x_ = (part.flatten() for part in torch.meshgrid(y, x_, indexing="ij"))  # (H W,)
    corners = []
    for row, side in ((1, height), (0, width)):
        a, b, c = source[:, row].unbind(1)
        place = a[:, None] * x_ + b[:, None] * y + c[:, None] + (side - 1) / 2  # (n, H W)
        period = max(2 * (side - 1), 1)
        place = place.remainder(period)
        place = torch.minimum(place, period - place).clamp(0, side - 1)
        low = place.floor().clamp(max=max(side - 2, 0))
        corners.append(((low.long(), 1 - (place - low)), ((low.long() + 1).clamp(max=side - 1), place - low)))
    pixels = x.flatten(2)
    found = torch.zeros_like(pixels)
    for down, weight_down in corners[0]:
        for right, weight_right in corners[1]:
            index = (down * width + right)[:, None].expand(n, channels, -1)
            found = found + (weight_down * weight_right)[:, None] * pixels.gather(2, index)
    return found.unflatten(2, (height, width))


def recolour(x: Tensor, matrix: Tensor) -> Tensor:
    """(n, C, H, W) by (n, 4, 4): three channels as colours, the fourth left alone; fewer as grey."""
    linear, offset = matrix[:, :3, :3], matrix[:, :3, 3]
    if x.shape[1] < 3:
        return x * append_dims(linear.sum((1, 2)) / 3, x.ndim) + append_dims(offset.mean(1), x.ndim)
    coloured = torch.einsum("nij,njhw->nihw", linear, x[:, :3]) + offset[:, :, None, None]
    return torch.cat([coloured, x[:, 3:]], 1)


def augment(x: Tensor, operations: tuple[str, ...], dice: Dice) -> Tensor:
    """All operations on (n, C, H, W): first where pixels are from, then their colours, then the rest as listed."""
    if x.ndim != 4:
        raise UserError(f"augmentation is for images; samples here are {tuple(x.shape[1:])}; set augment=none")
    *_, height, width = x.shape
    for table, apply in ((MOVES, warp), (COLOURS, recolour)):
        if matrices := [table[name](dice, height, width) for name in operations if name in table]:
            x = apply(x, functools.reduce(torch.matmul, matrices).to(x.dtype))
    for name in operations:
        if name in CHANGES:
            x = CHANGES[name](x, dice)
    return x
