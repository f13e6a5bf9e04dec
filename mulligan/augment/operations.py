"""Differentiable augmentation: D sees changed images, so that it does not memorise a small training set.

Every operation changes fakes and reals in the same way and passes G's gradient back (Zhao 2020, arXiv 2006.10738;
Karras 2020, arXiv 2006.06676). It is plain tensor arithmetic that can be differentiated twice. A view is one random
draw: it changes the same sample in the same way every time, which penalties rely on. Where a loss compares reals and
fakes in pairs, both of a pair get the same changes.

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


class SampleRng:
    """Random numbers for the first `n` of `count` samples: the same for each of them, whatever `n` is."""

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
        """(n,) of 0 and 1: whether each is changed, with a probability of `share` times the strength."""
        return (self.uniform() < share * self.strength).float()


Matrix = Callable[[SampleRng, int, int], Tensor]
Change = Callable[[Tensor, SampleRng], Tensor]
WARPS: dict[str, Matrix] = {}  # (rng, H, W) -> (n, 3, 3): the position from which a pixel is taken
COLOURS: dict[str, Matrix] = {}  # the same -> (n, 4, 4) on (r, g, b, 1)
CHANGES: dict[str, Change] = {}  # (images, rng) -> images


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


def _translation(y: Tensor, x: Tensor) -> Tensor:
    return _matrix([[1, 0, x], [0, 1, y], [0, 0, 1]])


def _rotation(angle: Tensor) -> Tensor:
    return _matrix([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1]])


# Karras 2020, appendix B, with the same distributions; all warps are one interpolation.


@_into(WARPS)
def flip(rng: SampleRng, height: int, width: int) -> Tensor:
    """Mirrored left to right, half of the time."""
    mirrored = 1 - 2 * rng.happens(0.5)
    return _scaling(torch.ones_like(mirrored), mirrored)


@_into(WARPS)
def quarter(rng: SampleRng, height: int, width: int) -> Tensor:
    """Rotated by any multiple of 90 degrees; of 180 degrees where the image is not square."""
    turns = rng.uniform(0, 4).floor() if height == width else 2 * rng.uniform(0, 2).floor()
    return _rotation(rng.happens() * turns * math.pi / 2)


@_into(WARPS)
def shift(rng: SampleRng, height: int, width: int) -> Tensor:
    """Moved by whole pixels, up to an eighth of the side."""
    does, y, x = rng.happens(), rng.uniform(-0.125, 0.125), rng.uniform(-0.125, 0.125)
    return _translation((does * y * height).round(), (does * x * width).round())


@_into(WARPS)
def scale(rng: SampleRng, height: int, width: int) -> Tensor:
    factor = torch.exp2(0.2 * rng.happens() * rng.normal())
    return _scaling(factor, factor)


@_into(WARPS)
def rotate(rng: SampleRng, height: int, width: int) -> Tensor:
    """Rotated by any angle."""
    return _rotation(rng.happens() * rng.uniform(-math.pi, math.pi))


@_into(WARPS)
def stretch(rng: SampleRng, height: int, width: int) -> Tensor:
    """One side enlarged and the other reduced, at random."""
    factor = torch.exp2(0.2 * rng.happens() * rng.normal())
    return _scaling(1 / factor, factor)


@_into(WARPS)
def slide(rng: SampleRng, height: int, width: int) -> Tensor:
    """Moved by fractions of a pixel too: normal, with a deviation of an eighth of the side."""
    does, y, x = rng.happens(), rng.normal(), rng.normal()
    return _translation(0.125 * does * y * height, 0.125 * does * x * width)


GREY = torch.full((3, 3), 1 / 3)  # onto the axis from black to white


def _colour(linear: Tensor, offset: Tensor | None = None) -> Tensor:
    """(n, 3, 3) and (n,) -> (n, 4, 4)."""
    matrix = F.pad(linear, (0, 1, 0, 1))
    matrix[:, 3, 3] = 1.0
    if offset is not None:
        matrix[:, :3, 3] = offset[:, None]
    return matrix


@_into(COLOURS)
def brightness(rng: SampleRng, height: int, width: int) -> Tensor:
    offset = 0.2 * rng.happens() * rng.normal()
    return _colour(torch.eye(3, device=rng.device).expand(rng.n, 3, 3), offset)


@_into(COLOURS)
def contrast(rng: SampleRng, height: int, width: int) -> Tensor:
    factor = torch.exp2(0.5 * rng.happens() * rng.normal())
    return _colour(factor[:, None, None] * torch.eye(3, device=rng.device))


@_into(COLOURS)
def invert(rng: SampleRng, height: int, width: int) -> Tensor:
    """Light and dark exchanged, hues unchanged, half of the time."""
    return _colour(torch.eye(3, device=rng.device) - 2 * rng.happens(0.5)[:, None, None] * GREY.to(rng.device))


@_into(COLOURS)
def hue(rng: SampleRng, height: int, width: int) -> Tensor:
    """Colours rotated around the axis from black to white (Rodrigues's formula)."""
    angle = (rng.happens() * rng.uniform(-math.pi, math.pi))[:, None, None]
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=rng.device) / math.sqrt(3)
    grey, eye = GREY.to(rng.device), torch.eye(3, device=rng.device)
    return _colour(angle.cos() * eye + (1 - angle.cos()) * grey + angle.sin() * cross)


@_into(COLOURS)
def saturation(rng: SampleRng, height: int, width: int) -> Tensor:
    factor = torch.exp2(rng.happens() * rng.normal())[:, None, None]
    grey = GREY.to(rng.device)
    return _colour(grey + factor * (torch.eye(3, device=rng.device) - grey))


BANDS = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # power of natural images in octaves of frequency, lowest first


@_into(CHANGES)
def filtered(x: Tensor, rng: SampleRng) -> Tensor:
    """Four octaves of frequency, each amplified or damped; the expected power stays the same."""
    *_, height, width = x.shape
    frequency = torch.hypot(
        torch.fft.fftfreq(2 * height, device=x.device)[:, None], torch.fft.rfftfreq(2 * width, device=x.device)
    )
    octave = (4 + torch.log2(frequency.clamp(min=1e-6))).clamp(0, 3)  # 0 up to 1/16 of the pixel rate, 3 from 1/2
    lobes = (1 - (octave - torch.arange(4, device=x.device)[:, None, None]).abs()).clamp(min=0)  # (4, 2 H, W + 1)
    gains = torch.ones(rng.n, 4, device=x.device)
    for band, _ in enumerate(BANDS):
        gain = torch.ones_like(gains)
        gain[:, band] = torch.exp2(rng.happens() * rng.normal())
        power = (torch.tensor(BANDS, device=x.device) * gain.square()).sum(1, keepdim=True)
        gains = gains * gain / power.sqrt()
    mirrored = torch.cat([x, x.flip(-1)], -1)
    mirrored = torch.cat([mirrored, mirrored.flip(-2)], -2)  # so that there is no edge where the transform wraps around
    response = torch.einsum("nb,bhw->nhw", gains, lobes)[:, None].to(x.dtype)
    return torch.fft.irfft2(torch.fft.rfft2(mirrored) * response, s=mirrored.shape[-2:])[..., :height, :width]


@_into(CHANGES)
def noise(x: Tensor, rng: SampleRng) -> Tensor:
    sigma = 0.1 * rng.happens() * rng.normal().abs()
    return x + append_dims(sigma, x.ndim) * rng.normal(*x.shape[1:])


@_into(CHANGES)
def cutout(x: Tensor, rng: SampleRng) -> Tensor:
    """A box of half the side, anywhere, is set to grey (DeVries, Taylor 2017)."""
    does, inside = append_dims(rng.happens(), x.ndim), torch.ones((), device=x.device, dtype=x.dtype)
    for axis, side in ((-2, x.shape[-2]), (-1, x.shape[-1])):
        position = (torch.arange(side, device=x.device) + 0.5) / side
        covered = (position - rng.uniform()[:, None]).abs() < 0.25  # (n, side)
        inside = inside * (covered[:, None, :, None] if axis == -2 else covered[:, None, None, :])
    return x * (1 - does * inside)


@_into(CHANGES)
def color(x: Tensor, rng: SampleRng) -> Tensor:
    """DiffAugment's: brightness, saturation and contrast; the latter two relative to the image's own means."""
    does = append_dims(rng.happens(), x.ndim)
    colours, offset = x[:, :3], append_dims(rng.uniform(-0.5, 0.5), x.ndim)
    colours = colours + does * offset
    for axes, low, high in (((1,), 0.0, 2.0), ((1, 2, 3), 0.5, 1.5)):
        factor = 1 + does * (append_dims(rng.uniform(low, high), x.ndim) - 1)
        mean = colours.mean(axes, keepdim=True)
        colours = mean + factor * (colours - mean)
    return torch.cat([colours, x[:, 3:]], 1)


@_into(CHANGES)
def translation(x: Tensor, rng: SampleRng) -> Tensor:
    """DiffAugment's: moved by whole pixels up to an eighth of the side; the uncovered border is grey."""
    *_, height, width = x.shape
    does = rng.happens()
    for axis, side in ((2, height), (3, width)):
        offset = (does * rng.uniform(-0.125, 0.125) * side).round().long()
        position = torch.arange(side, device=x.device) + offset[:, None]  # (n, side)
        position = append_dims(position[:, None], 4).transpose(2, axis)
        inside = (position >= 0) & (position < side)
        x = x.gather(axis, position.clamp(0, side - 1).expand_as(x)) * inside
    return x


OPERATIONS = (*WARPS, *COLOURS, *CHANGES)


def warp(x: Tensor, source: Tensor) -> Tensor:
    """(n, C, H, W) resampled: (n, 3, 3) maps a pixel, counted from the centre, to the position of its colour in `x`.

    Bilinear; beyond its edges the image is mirrored. Exact where positions are pixels.
    """
    n, channels, height, width = x.shape
    y, x_ = (torch.arange(side, device=x.device, dtype=x.dtype) - (side - 1) / 2 for side in (height, width))
    y, x_ = (part.flatten() for part in torch.meshgrid(y, x_, indexing="ij"))  # (H W,)
    corners = []
    for row, side in ((1, height), (0, width)):
        a, b, c = source[:, row].unbind(1)
        position = a[:, None] * x_ + b[:, None] * y + c[:, None] + (side - 1) / 2  # (n, H W)
        period = max(2 * (side - 1), 1)
        position = position.remainder(period)
        position = torch.minimum(position, period - position).clamp(0, side - 1)
        low = position.floor().clamp(max=max(side - 2, 0))
        corners.append(((low.long(), 1 - (position - low)), ((low.long() + 1).clamp(max=side - 1), position - low)))
    pixels = x.flatten(2)
    found = torch.zeros_like(pixels)
    for down, weight_down in corners[0]:
        for right, weight_right in corners[1]:
            index = (down * width + right)[:, None].expand(n, channels, -1)
            found = found + (weight_down * weight_right)[:, None] * pixels.gather(2, index)
    return found.unflatten(2, (height, width))


def recolour(x: Tensor, matrix: Tensor) -> Tensor:
    """(n, C, H, W) by (n, 4, 4): three channels as colours, the fourth unchanged; fewer than three as grey."""
    linear, offset = matrix[:, :3, :3], matrix[:, :3, 3]
    if x.shape[1] < 3:
        return x * append_dims(linear.sum((1, 2)) / 3, x.ndim) + append_dims(offset.mean(1), x.ndim)
    coloured = torch.einsum("nij,njhw->nihw", linear, x[:, :3]) + offset[:, :, None, None]
    return torch.cat([coloured, x[:, 3:]], 1)


def augment(x: Tensor, operations: tuple[str, ...], rng: SampleRng) -> Tensor:
    """All operations on images (n, C, H, W): first the warps, then the colours, then the others in the given order."""
    *_, height, width = x.shape
    for table, apply in ((WARPS, warp), (COLOURS, recolour)):
        if matrices := [table[name](rng, height, width) for name in operations if name in table]:
            x = apply(x, functools.reduce(torch.matmul, matrices).to(x.dtype))
    for name in operations:
        if name in CHANGES:
            x = CHANGES[name](x, rng)
    return x
