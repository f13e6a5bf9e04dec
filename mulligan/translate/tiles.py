"""A generator that makes pictures from pictures, on a photo of any size: whole, or in tiles that are blended.

Legend: B batch, C channels, H W photo size, s how much larger the result is.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mulligan.core.batch import to_float, to_uint8

WHOLE = 768 * 768  # pixels of a result that is made in one go
TILE, OVERLAP = 768, 96  # pixels of a result

See = Callable[[Tensor, Tensor | None], Tensor]  # (B, C, H, W) in [-1, 1] and masks -> what G is shown


def applied(G: nn.Module, photo: Tensor, mask: Tensor | None, **how: Any) -> Tensor:
    """`all_applied` of one: uint8 (C, H, W), bool (1, H, W) or None -> uint8 (C', s H, s W)."""
    return all_applied(G, photo[None], None if mask is None else mask[None], **how)[0]


@torch.inference_mode()
def all_applied(
    G: nn.Module,
    photos: Tensor,
    masks: Tensor | None,
    *,
    see: See,
    z: Tensor,
    scale: int = 1,
    device: torch.device | str = "cpu",
    whole: int = WHOLE,
) -> Tensor:
    """uint8 (B, C, H, W), bool (B, 1, H, W) with holes True or None, noise (B, ...) -> uint8 (B, C', s H, s W).

    The result is on the CPU. Beyond `whole` pixels each is made in overlapping tiles, a row of them at a time, so that
    memory grows with the width of the photo only. Tiles begin where G's own grids do; where two overlap, the one fades
    into the other, and what lies at their very borders, where G lacks what is beyond, does not count. Where there is a
    mask, what is known of the photo is the same in the result, bit for bit.
    """
    count, _, height, width = photos.shape
    if height * width * scale**2 <= whole:
        tile, overlap = max(height, width), 0
    else:
        step = max(1, getattr(G, "step", 1) // scale)
        overlap = -(-max(OVERLAP // scale, 8) // step) * step  # whole steps, as is what lies between two tiles
        tile = -(-max(TILE // scale, 3 * overlap) // step) * step
    rows, columns = spans(height, tile, overlap), spans(width, tile, overlap)
    z = z.to(device)
    result: Tensor | None = None
    carried: Tensor | None = None  # of the row of tiles above, what the one below overlaps
    for row, (top, bottom) in enumerate(rows):
        band: Tensor | None = None
        for column, (left, right) in enumerate(columns):
            part = to_float(photos[:, :, top:bottom, left:right].to(device))
            holes = None if masks is None else masks[:, :, top:bottom, left:right].to(device, torch.float32)
            made = G(z, see(part, holes)).float()
            made *= weights(rows, row, scale, made.device)[:, None] * weights(columns, column, scale, made.device)
            if band is None:
                band = torch.zeros(count, made.shape[1], made.shape[2], width * scale, device=made.device)
            band[..., left * scale : right * scale] += made
        assert band is not None
        if carried is not None:
            band[:, :, : carried.shape[2]] += carried
        done = (rows[row + 1][0] - top) * scale if row + 1 < len(rows) else band.shape[2]
        if result is None:  # as files have it, so that the whole of a large one is never copied
            size = (count, height * scale, width * scale, band.shape[1])
            result = torch.empty(size, dtype=torch.uint8).permute(0, 3, 1, 2)
        result[:, :, top * scale : top * scale + done] = to_uint8(band[:, :, :done]).cpu()
        carried = band[:, :, done:].clone()
    assert result is not None
    return result if masks is None else torch.where(masks, result, photos)


def spans(side: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Where tiles begin and end along a side: as long as `tile`, the last maybe shorter, each `overlap` into the next.

    >>> spans(20, 8, 2), spans(8, 8, 2)
    ([(0, 8), (6, 14), (12, 20)], [(0, 8)])
    """
    starts = [0]
    while starts[-1] + tile < side:
        starts.append(starts[-1] + tile - overlap)
    return [(start, min(start + tile, side)) for start in starts]


def weights(tiles: list[tuple[int, int]], index: int, scale: int, device: torch.device) -> Tensor:
    """How much each place along a tile counts: 1, and at a neighbour less, so that both together have 1."""
    begin, end = tiles[index]
    counts = torch.ones((end - begin) * scale, device=device)
    for (_, before), (after, _) in pairwise(tiles[max(0, index - 1) : index + 2]):
        shared = (before - after) * scale
        rising = ((torch.arange(shared, device=device) + 0.5) / shared * 2 - 0.5).clamp(0, 1)  # over the middle half
        if after == begin:
            counts[:shared] *= rising
        else:
            counts[-shared:] *= 1 - rising
    return counts
