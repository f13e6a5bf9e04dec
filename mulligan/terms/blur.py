"""A term that blurs what D sees."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.registry import terms
from mulligan.core.step import Step, View, ViewRule, unchanged


@terms.register()
def blur() -> ViewRule:
    """D sees samples blurred by a Gaussian of `weight` pixels, which a schedule takes to 0 (Karras 2021, app. F.2).

    So early in training D cannot recognise fakes by fine details that G does not make yet (arXiv 2106.12423). Borders
    are mirrored.
    """

    def fn(step: Step, weight: float) -> tuple[View, View]:
        view = unchanged if weight < 0.1 else lambda x: blurred(x, weight)
        return view, view

    return ViewRule("both", fn)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """(B, C, *space), filtered along each axis by a Gaussian cut off at three `sigma`."""
    reach = math.ceil(3 * sigma)
    for axis in range(2, x.ndim):
        side = x.shape[axis]
        offsets = torch.arange(-reach, reach + 1, device=x.device)
        taps = torch.exp(-0.5 * (offsets / sigma).square())
        sources = (torch.arange(side, device=x.device)[:, None] + offsets) % (2 * side)  # of each position, mirrored
        sources = torch.minimum(sources, 2 * side - 1 - sources)
        rows = torch.zeros(side, side, device=x.device).scatter_add_(1, sources, (taps / taps.sum()).expand(side, -1))
        x = F.linear(x.transpose(axis, -1), rows.to(x.dtype)).transpose(axis, -1)
    return x
