"""Convolutions modulated by a style, and other parts of StyleGAN2 (Karras 2020, arXiv 1912.04958).

Legend: B batch, C input channels, O output channels, S numbers of a style.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.network import Discriminator
from mulligan.core.sample import Sample
from mulligan.nn.equalised import EqualConv2d, EqualLinear, act
from mulligan.nn.head import normalised
from mulligan.nn.resample import fir

EPS = 1e-8


class ModulatedConv2d(nn.Module):
    """Modulated convolution: a style scales the input channels of the kernel; demodulation gives unit output variance.

    Sec. 2.2, eq. 1-3. Scaling the kernel's input channels is the same as scaling the input, and normalising the kernel
    the same as scaling the output. So all samples use one kernel, and no grouped convolution is needed.
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
        if self.up:  # transposed, then smoothed: cheaper than a convolution of the upsampled input
            x = fir(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), before=1, after=1, gain=4.0)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if not self.demodulate:
            return x
        length = style.square() @ weight.square().sum((2, 3)).T  # (B, O): squared length of each sample's kernels
        return x * (length + EPS).rsqrt()[:, :, None, None]


class StyledLayer(nn.Module):
    """A modulated convolution, noise at every pixel, a bias, and an activation."""

    def __init__(self, a: int, b: int, grid: tuple[int, int], styles: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(a, b, 3, styles, up=up)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(b))
        self.register_buffer("noise", torch.randn(1, 1, *grid))  # fixed, for evaluation

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
    """One more channel: the mean standard deviation over a group of samples (Karras 2018, arXiv 1710.10196, sec. 3)."""

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C + 1, h, w). A group takes every (B / group)-th sample; the last may be smaller."""
        groups = -(-len(x) // self.group)
        spreads = [x[i::groups].var(0, correction=0).add(EPS).sqrt().mean() for i in range(groups)]
        spread = torch.stack(spreads).repeat(-(-len(x) // groups))[: len(x)]
        return torch.cat([x, spread[:, None, None, None].expand(-1, 1, *x.shape[2:]).to(x.dtype)], 1)


class SpreadHead(nn.Module):
    """The last layers of a D: minibatch standard deviation, a convolution, two dense layers; the class by projection.

    Karras 2018, table 2; Karras 2020, figure 7.
    """

    def __init__(self, channels: int, grid: tuple[int, int], classes: int, group: int) -> None:
        super().__init__()
        self.spread = MinibatchStd(group)
        self.conv = EqualConv2d(channels + 1, channels, 3, padding=1)
        self.dense = EqualLinear(channels * grid[0] * grid[1], channels)
        self.out = EqualLinear(channels, channels if classes else 1)
        self.embed = nn.Embedding(classes, channels) if classes else None

    def forward(self, x: Tensor, ids: Tensor | None) -> Judgement:
        """x (B, C, h, w), class ids (B,) or None -> one logit per sample, (B,)."""
        features = act(self.dense(act(self.conv(self.spread(x))).flatten(1)))
        y = self.out(features)
        if self.embed is None:
            return Judgement([y.squeeze(1)], [x, features])
        assert ids is not None
        return Judgement([(y * normalised(self.embed(ids))).mean(1) * math.sqrt(y.shape[1])], [x, features])


class HalvingDiscriminator(Discriminator):
    """A 1x1 convolution of the image, halvings to the base grid, and a `SpreadHead`."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        widths: list[int],  # channels from the image's resolution down to the base grid
        halving: Callable[[int, int], nn.Module],  # channels in and out -> (B, a, h, w) to (B, b, h / 2, w / 2)
        group: int,
    ) -> None:
        super().__init__()
        channels, height, side = sample.shape
        count = len(widths) - 1
        self.from_image = EqualConv2d(channels, widths[0], 1)
        self.halvings = nn.Sequential(*(halving(a, b) for a, b in pairwise(widths)))
        self.head = SpreadHead(widths[-1], (height >> count, side >> count), condition.classes, group)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W), `class` (B,) or none -> one logit per sample, (B,)."""
        return self.head(self.halvings(act(self.from_image(x))), cond.get("class"))
