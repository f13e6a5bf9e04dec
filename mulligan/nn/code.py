"""A code in the noise: the first so many numbers stand for one of as many choices.

The largest of K independent normal numbers is any of them with equal chance, so noise stays noise for everyone else.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def code_of(z: Tensor, codes: int) -> Tensor:
    """z (B, z) -> the code (B,) int64 in it."""
    return z[:, :codes].argmax(1)


def coded(z: Tensor, codes: int) -> Tensor:
    """z with a one among zeros in place of the numbers that chose the code: (B, z)."""
    return torch.cat([F.one_hot(code_of(z, codes), codes).to(z.dtype), z[:, codes:]], 1)
