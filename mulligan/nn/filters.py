"""Low-pass filters with a given cutoff, and an activation without aliasing.

Karras 2021 (arXiv 2106.12423). An image is a grid of samples of a continuous signal, `rate` samples per unit of length;
frequencies are in cycles per unit of length.

Legend: B batch, C channels, h w a grid with its margins, n taps of a filter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.nn.equalised import GAIN, SLOPE

CACHED = 1 << 19  # numbers on a fine grid that are processed at once, so that they fit into a CPU's cache


@dataclass(frozen=True)
class Band:
    """The frequencies that a grid of samples represents: all up to `cutoff`, then falling off over `half_width`."""

    cutoff: float
    half_width: float
    rate: float
    grid: tuple[int, int]  # samples along each axis, margins included


def kaiser_beta(taps: int, half_width: float, rate: float) -> float:
    """Beta of the Kaiser window with the best attenuation for a transition band of twice `half_width` (eq. 7, 8)."""
    attenuation = 2.285 * (taps - 1) * math.pi * 4 * half_width / rate + 7.95  # in decibels
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21) if attenuation > 21 else 0.0


def lowpass(taps: int, cutoff: float, half_width: float, rate: float, *, radial: bool = False) -> Tensor:
    """A sinc with a Kaiser window, (n,), to be applied along each axis; `radial`: a jinc, (n, n), isotropic.

    It is float64 and sums to one (eq. 4-6, 12).
    """
    x = torch.arange(taps, dtype=torch.float64, device="cpu") - (taps - 1) / 2
    inside = (1 - (2 * x / (taps - 1)).square()).clamp(min=0) if taps > 1 else torch.ones_like(x)
    window = torch.special.i0(kaiser_beta(taps, half_width, rate) * inside.sqrt())
    x = 2 * cutoff / rate * x
    if radial:
        r = math.pi * torch.hypot(x[:, None], x[None])
        jinc = torch.where(r > 0, 2 * torch.special.bessel_j1(r) / r.clamp(min=1e-12), 1.0)
        kernel = jinc * window[:, None] * window
    else:
        kernel = torch.sinc(x) * window
    return kernel / kernel.sum()


class FilteredAct(nn.Module):
    """Upsample, activate, downsample, crop: a nonlinearity of the continuous signal, not of its samples (sec. 3.2).

    The temporary rate is `over` times the higher rate of both grids, and a filter spans `taps` samples of its own grid.
    All grids have the same centre; outside the input there are zeros. `radial` is of the downsampling filter.
    """

    def __init__(self, before: Band, after: Band, *, taps: int = 6, over: int = 2, radial: bool = False) -> None:
        super().__init__()
        rate = max(before.rate, after.rate) * over
        self.up, self.down = round(rate / before.rate), round(rate / after.rate)
        wide, narrow = taps * self.up, taps * self.down
        rise = lowpass(wide, before.cutoff, before.half_width, rate) * self.up
        fall = lowpass(narrow, after.cutoff, after.half_width, rate, radial=radial)
        self.register_buffer("rise", rise.float(), persistent=False)  # not saved: they follow from the options
        self.register_buffer("fall", fall.float(), persistent=False)
        self.cuts = [self._cut(a, b, wide, narrow) for a, b in zip(before.grid, after.grid, strict=True)]

    def _cut(self, a: int, b: int, wide: int, narrow: int) -> tuple[int, int]:
        """Along an axis: samples to crop from the input, which have no effect, and from the fine grid, on each side."""
        surplus = (a - 1) * self.up + wide - ((b - 1) * self.down + narrow)
        assert surplus >= 0 and surplus % 2 == 0, "the grid grows by less than the filters reach"
        early = max(0, -((wide - 1 - surplus // 2) // self.up))
        return early, surplus // 2 - early * self.up

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *before.grid) -> (B, C, *after.grid)."""
        at_once = max(1, CACHED // (x.shape[1:].numel() * self.up**2))
        if x.device.type != "cpu" or len(x) <= at_once:
            return self._filtered(x)
        return torch.cat([self._filtered(some) for some in x.split(at_once)])

    def _filtered(self, x: Tensor) -> Tensor:
        c, up, down = x.shape[1], self.up, self.down
        (top, trim), (left, clip) = self.cuts
        x = GAIN * x[:, :, top : x.shape[2] - top, left : x.shape[3] - left]  # act's gain, where the grid is small
        rise, fall = (f.to(x.dtype).expand(c, 1, *f.shape) for f in (self.rise, self.fall))
        x = F.conv_transpose2d(x, rise[..., None], stride=(up, 1), padding=(trim, 0), groups=c)
        x = F.conv_transpose2d(x, rise[:, :, None], stride=(1, up), padding=(0, clip), groups=c)
        x = F.leaky_relu(x, SLOPE, inplace=True)
        if self.fall.ndim == 2:
            return F.conv2d(x, fall, stride=down, groups=c)
        x = F.conv2d(x, fall[..., None], stride=(down, 1), groups=c)
        return F.conv2d(x, fall[:, :, None], stride=(1, down), groups=c)
