"""Convolutions that a style steers, and what else StyleGAN2 is made of (Karras 2020, arXiv 1912.04958).

Legend: B batch, C channels in, O out, S numbers of a style.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import Judgement
from mulligan.nn.equalised import EqualConv2d, EqualLinear, act
from mulligan.nn.head import normalised
from mulligan.nn.resample import fir

EPS = 1e-8


class ModulatedConv2d(nn.Module):
    """A convolution whose kernel a style scales by input channel, and that then brings each output to unit variance.

    Sec. 2.2, eq. 1-3. Scaling a kernel's input channels is scaling the input, and bringing it to unit length is scaling
    the output: so the batch shares one kernel, and no convolution is grouped.
    """

    def __init__(self, a: int, b: int, kernel: int, styles: int, *, up: bool = False, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(b, a, kernel, kernel))
        self.style = EqualLinear(styles, a, bias=1.0)
        self.scale, self.up, self.demodulate = 1 / math.sqrt(a * kernel**2), up, demodulate

    def forward(self, x: Tensor, w: Tensor, gain: float | Tensor = 1.0) -> Tensor:
        """x (B, C, h, w), to be scaled by `gain`, w (B, S) -> (B, O, h, w), or twice the sides."""
        style = self.style(w)  # (B, C)
        weight = self.weight * self.scale
        x = x * (style * gain)[:, :, None, None]
        if self.up:  # transposed, then smoothed: cheaper than a convolution of the enlarged
            x = fir(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), before=1, after=1, gain=4.0)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if not self.demodulate:
            return x
        length = style.square() @ weight.square().sum((2, 3)).T  # (B, O): of each sample's kernels, squared
        return x * (length + EPS).rsqrt()[:, :, None, None]


class StyledLayer(nn.Module):
    """A modulated convolution, noise in every place, a bias, and an activation."""

    def __init__(self, a: int, b: int, grid: tuple[int, int], styles: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(a, b, 3, styles, up=up)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(b))
        self.register_buffer("noise", torch.randn(1, 1, *grid))  # what is drawn when not training: always the same

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = self.conv(x, w)
        noise = torch.randn_like(x[:, :1]) if self.training else self.noise
        return act(x + self.strength * noise + self.bias[:, None, None])


class ToImage(nn.Module):
    """A modulated 1x1 convolution to the image's channels, without demodulation."""

    def __init__(self, a: int, channels: int, styles: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(a, channels, 1, styles, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.conv(x, w) + self.bias[:, None, None]


class MinibatchStd(nn.Module):
    """One more channel: how much the samples of a group differ, on average (Karras 2018, arXiv 1710.10196, sec. 3)."""

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C + 1, h, w). Groups are of every (B / group)-th sample; the last may be smaller."""
        groups = -(-len(x) // self.group)
        spreads = [x[i::groups].var(0, correction=0).add(EPS).sqrt().mean() for i in range(groups)]
        spread = torch.stack(spreads).repeat(-(-len(x) // groups))[: len(x)]
        return torch.cat([x, spread[:, None, None, None].expand(-1, 1, *x.shape[2:]).to(x.dtype)], 1)


class SpreadHead(nn.Module):
    """The end of a D: how much a group of samples differs, a convolution, two dense layers; by class, a projection.

    Karras 2018, table 2; Karras 2020, figure 7.
    """

    def __init__(self, channels: int, grid: tuple[int, int], classes: int, group: int) -> None:
        super().__init__()
        self.spread = MinibatchStd(group)
        self.conv = EqualConv2d(channels + 1, channels, 3, padding=1)
        self.dense = EqualLinear(channels * grid[0] * grid[1], channels)
        self.out = EqualLinear(channels, channels if classes else 1)
        self.embed = nn.Embedding(classes, channels) if classes else None

    def forward(self, x: Tensor, cond: Tensor | None) -> Judgement:
        """x (B, C, h, w), cond (B,) class ids or None -> one logit a sample, (B,)."""
        features = act(self.dense(act(self.conv(self.spread(x))).flatten(1)))
        y = self.out(features)
        if self.embed is None:
            return Judgement([y.squeeze(1)], [x, features])
        assert cond is not None
        return Judgement([(y * normalised(self.embed(cond))).mean(1) * math.sqrt(y.shape[1])], [x, features])


class HalvingDiscriminator(nn.Module):
    """A 1x1 convolution of the image, halvings to the base grid, and a `SpreadHead`."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        widths: list[int],  # channels from the image's resolution down to the base grid
        halving: Callable[[int, int], nn.Module],  # channels in and out -> (B, a, h, w) to (B, b, h / 2, w / 2)
        group: int,
    ) -> None:
        super().__init__()
        count = len(widths) - 1
        self.from_image = EqualConv2d(shape[0], widths[0], 1)
        self.halvings = nn.Sequential(*(halving(a, b) for a, b in pairwise(widths)))
        self.head = SpreadHead(widths[-1], (shape[1] >> count, shape[2] >> count), classes, group)

    def forward(self, x: Tensor, cond: Tensor | None) -> Judgement:
        """x (B, C, H, W), cond (B,) class ids or None -> one logit a sample, (B,)."""
        return self.head(self.halvings(act(self.from_image(x))), cond)
