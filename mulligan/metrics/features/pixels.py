"""Preprocessing of images for a feature net: channels and size, with the same arithmetic on every device.

Images are (B, C, H, W) float in [-1, 1] with C = 1 (grey), 3 (RGB) or 4 (RGBA, composited on white).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from mulligan.core.errors import UserError

Filter = Literal["antialias", "legacy", "tf1"]  # see `resize`
LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as in JPEG and Pillow's mode "L"


def to_rgb(images: Tensor) -> Tensor:
    """(B, 1 | 3 | 4, H, W) -> (B, 3, H, W). Raises UserError for another number of channels."""
    match images.shape[1]:
        case 1:
            return images.expand(-1, 3, -1, -1)
        case 3:
            return images
        case 4:
            alpha = (images[:, 3:] + 1) / 2
            return images[:, :3] * alpha + (1 - alpha)  # white is 1
    raise UserError(f"this feature net takes images of 1, 3 or 4 channels, not {images.shape[1]}")


def to_grey(images: Tensor) -> Tensor:
    """(B, 1 | 3 | 4, H, W) -> (B, 1, H, W), by luma."""
    if images.shape[1] == 1:
        return images
    return torch.einsum("bchw,c->bhw", to_rgb(images), images.new_tensor(LUMA))[:, None]


def resize(images: Tensor, size: int, filter: Filter) -> Tensor:
    """(B, C, H, W) -> (B, C, size, size), linear in both axes.

    `antialias` widens the triangle when shrinking (Pillow's bilinear; reasons in Parmar 2022, arXiv 2104.11222).
    `legacy` does not (torch's align_corners=False, used for most FIDs published before 2022). `tf1` also measures from
    the corner, not the centre, of a pixel (TensorFlow 1, used for the first FIDs).
    """
    height, width = images.shape[-2:]
    if height != size:
        images = resize_matrix(height, size, filter).to(images.device) @ images
    if width != size:
        images = images @ resize_matrix(width, size, filter).to(images.device).T
    return images


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # it is cached, also for callers that differentiate
def resize_matrix(old: int, new: int, filter: Filter) -> Tensor:
    """(new, old) float32: row i holds the weights of old pixels in new pixel i. Taps beyond the edge are left out."""
    index = torch.arange(new, dtype=torch.float64)
    centre = index * old / new if filter == "tf1" else (index + 0.5) * old / new - 0.5
    reach = max(1.0, old / new) if filter == "antialias" else 1.0
    taps = (1 - (torch.arange(old) - centre[:, None]).abs() / reach).clamp(min=0)
    return (taps / taps.sum(1, keepdim=True)).float()
