"""The moving average of G: what samples are drawn from and evaluated."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


class MovingAverage(Generic[Net]):
    """Exponential moving average of a network's parameters and floating-point buffers.

    The decay is given as a half-life in samples: it means the same at every batch size (Karras 2019, StyleGAN2).
    """

    def __init__(self, net: Net) -> None:
        self.net: Net = copy.deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module, samples: float, half_life: float) -> None:
        """Move towards `net` by one step of so many samples; a half-life of 0 copies it."""
        keep = 0.5 ** (samples / half_life) if half_life > 0 else 0.0
        mine: list[Tensor] = list(self.net.parameters())
        theirs: list[Tensor] = list(net.parameters())
        for ours, current in zip(self.net.buffers(), net.buffers(), strict=True):
            if ours.is_floating_point():
                mine.append(ours)
                theirs.append(current)
            else:
                ours.copy_(current)
        torch._foreach_lerp_(mine, theirs, 1.0 - keep)
