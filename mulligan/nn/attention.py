"""Self-attention between the positions of a feature map.

Legend: B batch, C channels, N positions (h w), M pooled positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """x + gain * attention(x), over all positions; the gain starts at 0.

    Zhang 2019 (arXiv 1805.08318, eq. 1-3), with keys and values pooled by two as in BigGAN. It does not use torch's
    fused attention, which has no second derivative: a gradient penalty needs one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query, self.key = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(2))
        self.value = nn.Conv2d(channels, max(1, channels // 2), 1, bias=False)
        self.out = nn.Conv2d(self.value.out_channels, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w), h and w even -> the same shape."""
        query = self.query(x).flatten(2)  # (B, C / 8, N)
        key, value = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))  # (B, ., M)
        weights = (query.transpose(1, 2) @ key).softmax(2)  # (B, N, M)
        found = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])  # (B, C / 2, h, w)
        return x + self.gain * self.out(found)
