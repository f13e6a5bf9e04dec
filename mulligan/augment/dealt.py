"""What training pictures go through before they are dealt, so that G and D see more of them than there are."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from mulligan.core.batch import append_dims


def jittered(x: Tensor, dice: Generator, enlarge: float, mirror: bool) -> Tensor:
    """(B, C, H, W), each enlarged, cropped to its size again somewhere, and half of them mirrored.

    Isola 2017, arXiv 1611.07004, sec. 6.2: from 286x286 to 256x256. `dice` are of the pictures' device.
    """

    def drawn(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=dice, device=x.device)

    if mirror:
        x = torch.where(append_dims(drawn(len(x)) < 0.5, 4), x.flip(-1), x)
    if enlarge > 1:
        seen = 1 / enlarge  # of a side
        still = torch.tensor([[seen, 0.0, 0.0], [0.0, seen, 0.0]], device=x.device).repeat(len(x), 1, 1)
        still[:, :, 2] = (1 - seen) * (2 * drawn(len(x), 2) - 1)
        places = F.affine_grid(still, list(x.shape), align_corners=False)
        cropped = F.grid_sample(x, places, "bicubic", "border", align_corners=False)
        x = cropped.clamp(x.amin(), x.amax())  # as a cubic goes beyond what it goes through
    return x
