"""Random changes of training images before they are batched, so that G and D see more images than there are."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from mulligan.core.batch import append_dims


def jittered(x: Tensor, rng: Generator, enlarge: float, mirror: bool) -> Tensor:
    """(B, C, H, W), each enlarged, cropped to its size again at a random position, and half of them mirrored.

    Isola 2017, arXiv 1611.07004, sec. 6.2: from 286x286 to 256x256. `rng` is on the device of the images.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=rng, device=x.device)

    if mirror:
        x = torch.where(append_dims(uniform(len(x)) < 0.5, 4), x.flip(-1), x)
    if enlarge > 1:
        share = 1 / enlarge  # of a side that remains
        affine = torch.tensor([[share, 0.0, 0.0], [0.0, share, 0.0]], device=x.device).repeat(len(x), 1, 1)
        affine[:, :, 2] = (1 - share) * (2 * uniform(len(x), 2) - 1)
        positions = F.affine_grid(affine, list(x.shape), align_corners=False)
        cropped = F.grid_sample(x, positions, "bicubic", "border", align_corners=False)
        x = cropped.clamp(x.amin(), x.amax())  # cubic interpolation overshoots
    return x
