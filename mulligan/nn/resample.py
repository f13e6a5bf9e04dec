"""Resampling: by two with the binomial filter [1, 2, 1], or by any factor in blocks; for data of any rank.

Legend: B batch, C channels, `*space` any number of spatial axes.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _kernel(x: Tensor, total: float) -> Tensor:
    """The separable binomial kernel, one copy per channel, summing to `total`: (C, 1, 3, 3, ...)."""
    taps = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    rank = x.ndim - 2
    kernel = functools.reduce(lambda a, b: a.unsqueeze(-1) * b, [taps] * rank) * total
    return kernel.expand(x.shape[1], 1, *kernel.shape).contiguous()


def fir(x: Tensor, *, before: int, after: int, gain: float = 1.0, stride: int = 1) -> Tensor:
    """(B, C, H, W) filtered by [1, 3, 3, 1] along both axes, as in StyleGAN2; `before` and `after` count zeros."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8
    kernel = (taps[:, None] * taps * gain).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, (before, after, before, after)), kernel, stride=stride, groups=x.shape[1])


def downsample(x: Tensor) -> Tensor:
    """(B, C, *space) -> (B, C, *space / 2): low-pass filter, then every other sample; zeros outside."""
    return CONV[x.ndim - 2](x, _kernel(x, 1.0), stride=2, padding=1, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """(B, C, *space) -> (B, C, 2 * space): samples stay, new ones are the mean of their neighbours; zeros outside."""
    kernel = _kernel(x, 2.0 ** (x.ndim - 2))
    return TRANSPOSED[x.ndim - 2](x, kernel, stride=2, padding=1, output_padding=1, groups=x.shape[1])


def shrink(x: Tensor, factor: int) -> Tensor:
    """(B, C, *space) -> (B, C, *space / factor): the mean of each block."""
    return MEAN[x.ndim - 2](x, factor)


def enlarge(x: Tensor, factor: int) -> Tensor:
    """(B, C, *space) -> (B, C, factor * space): every number is repeated in a block."""
    return F.interpolate(x, scale_factor=factor, mode="nearest")


def coarse(x: Tensor, factor: int) -> Tensor:
    """(B, C, *space) -> the same shape, each block set to its mean: `x` at a lower resolution."""
    return enlarge(shrink(x, factor), factor)
