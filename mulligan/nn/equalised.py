"""Equalised learning rate: all weights start as N(0, 1) and are scaled at run time, so an Adam step acts alike on all.

Karras 2018 (arXiv 1710.10196, sec. 4.1). `rate` multiplies a layer's learning rate (Karras 2019, arXiv 1812.04948,
app. C).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE, GAIN = 0.2, math.sqrt(2)


def act(x: Tensor) -> Tensor:
    """Leaky ReLU, scaled so that it roughly preserves variance."""
    return F.leaky_relu(x, SLOPE) * GAIN


class EqualLinear(nn.Module):
    """(B, a) -> (B, b)."""

    def __init__(self, a: int, b: int, *, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(b, a) / rate)
        self.bias = nn.Parameter(torch.full((b,), bias))
        self.scale, self.rate = rate / math.sqrt(a), rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualConv2d(nn.Module):
    """(B, a, H, W) -> (B, b, H', W')."""

    def __init__(self, a: int, b: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(b, a, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(b)) if bias else None
        self.scale, self.stride, self.padding = 1 / math.sqrt(a * kernel**2), stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)
