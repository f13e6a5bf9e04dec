"""Dropout with cheap random numbers: on a CPU torch draws one per element, which can cost as much as a convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero each element of a dense tensor with probability `p` (to within 2**-16), scale the others by 1 / (1 - p)."""
    drop = round(p * 65536)
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    words.random_(-(2**63), None)  # all 64 bits, enough for four elements
    lanes = words.view(torch.int16).as_strided(x.size(), x.stride())  # uniform on [-32768, 32767], laid out as x is
    keep = lanes >= drop - 32768
    return x * keep.to(x.dtype).mul_(1 / (1 - drop / 65536))


class Dropout(nn.Dropout):
    """Dropout (Srivastava 2014) in training, the identity in evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training and self.p else x
