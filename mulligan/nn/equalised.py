"""Layers whose weights are all N(0, 1), scaled where they are used, so that an Adam step means the same for each.

Karras 2018 (arXiv 1710.10196, sec. 4.1). A rate below 1 slows a layer down (Karras 2019, arXiv 1812.04948, app. C).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE, GAIN = 0.2, math.sqrt(2)


def act(x: Tensor) -> Tensor:
    """Leaky rectification that keeps the variance of its input, about."""
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
