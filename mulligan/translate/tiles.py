"""A generator that makes images from images, on a photo of any size: whole, or in tiles that are blended.

Legend: B batch, C channels, H W photo size, s how much larger the result is.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mulligan.core.batch import to_float, to_uint8
from mulligan.core.condition import Condition
from mulligan.core.network import Generator

WHOLE = 768 * 768  # pixels of a result up to which it is made without tiles
TILE, OVERLAP = 768, 96  # pixels of a result

ConditionFor = Callable[[Tensor, Tensor | None], Condition]  # (B, C, H, W) in [-1, 1], masks or None -> what G is given


def applied(G: Generator, photo: Tensor, mask: Tensor | None, **options: Any) -> Tensor:
    """`all_applied` of one: uint8 (C, H, W), bool (1, H, W) or None -> uint8 (C', s H, s W)."""
    return all_applied(G, photo[None], None if mask is None else mask[None], **options)[0]


@torch.inference_mode()
def all_applied(
    G: Generator,
    photos: Tensor,
    masks: Tensor | None,
    *,
    condition_for: ConditionFor,
    z: Tensor,
    scale: int = 1,
    device: torch.device | str = "cpu",
    whole: int = WHOLE,
) -> Tensor:
    """uint8 (B, C, H, W), bool (B, 1, H, W) with holes True or None, noise (B, ...) -> uint8 (B, C', s H, s W).

    The result is on the CPU. Beyond `whole` pixels each is made in overlapping tiles, one row of tiles at a time, so
    that memory grows with the width of the photo only. Tiles begin at multiples of G's grid. Where two overlap they are
    blended; their outermost pixels, for which G has no surroundings, do not count. Where there is a mask, known pixels
    of the photo are the same in the result, bit for bit.
    """
    count, _, height, width = photos.shape
    if height * width * scale**2 <= whole:
        tile, overlap = max(height, width), 0
    else:
        grid = max(1, G.grid // scale)
        overlap = -(-max(OVERLAP // scale, 8) // grid) * grid  # a multiple of the grid, as is the rest of a tile
        tile = -(-max(TILE // scale, 3 * overlap) // grid) * grid
    rows, columns = spans(height, tile, overlap), spans(width, tile, overlap)
    z = z.to(device)
    result: Tensor | None = None
    carried: Tensor | None = None  # the lowest part of a row of tiles, which the next row overlaps
    for row, (top, bottom) in enumerate(rows):
        band: Tensor | None = None
        for column, (left, right) in enumerate(columns):
            part = to_float(photos[:, :, top:bottom, left:right].to(device))
            holes = None if masks is None else masks[:, :, top:bottom, left:right].to(device, torch.float32)
            made = G(z, condition_for(part, holes)).float()
            made *= weights(rows, row, scale, made.device)[:, None] * weights(columns, column, scale, made.device)
            if band is None:
                band = torch.zeros(count, made.shape[1], made.shape[2], width * scale, device=made.device)
            band[..., left * scale : right * scale] += made
        assert band is not None
        if carried is not None:
            band[:, :, : carried.shape[2]] += carried
        done = (rows[row + 1][0] - top) * scale if row + 1 < len(rows) else band.shape[2]
        if result is None:  # channels last as in a file, so that a large result is never copied whole
            size = (count, height * scale, width * scale, band.shape[1])
            result = torch.empty(size, dtype=torch.uint8).permute(0, 3, 1, 2)
        result[:, :, top * scale : top * scale + done] = to_uint8(band[:, :, :done]).cpu()
        carried = band[:, :, done:].clone()
    assert result is not None
    return result if masks is None else torch.where(masks, result, photos)


def spans(side: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Where tiles begin and end along a side: each is `tile` long, the last maybe shorter, and overlaps the next.

    >>> spans(20, 8, 2), spans(8, 8, 2)
    ([(0, 8), (6, 14), (12, 20)], [(0, 8)])
    """
    starts = [0]
    while starts[-1] + tile < side:
        starts.append(starts[-1] + tile - overlap)
    return [(start, min(start + tile, side)) for start in starts]


def weights(tiles: list[tuple[int, int]], index: int, scale: int, device: torch.device) -> Tensor:
    """The weight of each pixel along a tile: 1, and less where it overlaps a neighbour, so that the two sum to 1."""
    begin, end = tiles[index]
    found = torch.ones((end - begin) * scale, device=device)
    for (_, before), (after, _) in pairwise(tiles[max(0, index - 1) : index + 2]):
        shared = (before - after) * scale
        rising = ((torch.arange(shared, device=device) + 0.5) / shared * 2 - 0.5).clamp(0, 1)  # over the middle half
        if after == begin:
            found[:shared] *= rising
        else:
            found[-shared:] *= 1 - rising
    return found
