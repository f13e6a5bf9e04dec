"""Terms about what D can see."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.registry import terms
from mulligan.core.step import Passage, Step, View, plainly


@terms.register()
def blur() -> Passage:
    """D sees images through a Gaussian of `weight` pixels, which a schedule takes to none (Karras 2021, app. F.2).

    So it cannot tell fakes by their finest details while G has none yet (arXiv 2106.12423). Beyond an image is its
    mirror image.
    """

    def fn(step: Step, weight: float) -> tuple[View, View]:
        view = plainly if weight < 0.1 else lambda x: blurred(x, weight)
        return view, view

    return Passage("both", fn)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """(B, C, *space) under a Gaussian of three `sigma` to either side, along each axis."""
    reach = math.ceil(3 * sigma)
    for axis in range(2, x.ndim):
        side = x.shape[axis]
        offsets = torch.arange(-reach, reach + 1, device=x.device)
        taps = torch.exp(-0.5 * (offsets / sigma).square())
        places = (torch.arange(side, device=x.device)[:, None] + offsets) % (2 * side)  # a row's sources, mirrored
        places = torch.minimum(places, 2 * side - 1 - places)
        rows = torch.zeros(side, side, device=x.device).scatter_add_(1, places, (taps / taps.sum()).expand(side, -1))
        x = F.linear(x.transpose(axis, -1), rows.to(x.dtype)).transpose(axis, -1)
    return x
