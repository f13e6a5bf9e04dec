"""A categorical code in the noise, as in InfoGAN: the first K numbers of z choose one of K codes.

The largest of K independent normal numbers is each of them with equal probability, so z is still plain noise to all
other code.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def code_of(z: Tensor, codes: int) -> Tensor:
    """z (B, z) -> its code (B,) int64: the index of the largest of the first `codes` numbers."""
    return z[:, :codes].argmax(1)


def coded(z: Tensor, codes: int) -> Tensor:
    """z (B, z) with the code as a one-hot vector in place of the numbers that chose it: (B, z)."""
    return torch.cat([F.one_hot(code_of(z, codes), codes).to(z.dtype), z[:, codes:]], 1)
