"""One picture of many samples: a grid of images, a grid with captions, a plot of points."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

CELL = 64  # pixels to which small images are enlarged
SHEET = 2048  # the largest width and height of a grid of enlarged images, in pixels
GUTTER, NEUTRAL = 1, 128  # pixels between images, and their grey level
CHECKS, LIGHT, DARK = 8, 235, 205  # pixels of a check, and its greys, under transparent images
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def as_array(images: Tensor) -> np.ndarray:
    """uint8 (N, C, H, W) on any device -> (N, H, W, C)."""
    return images.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def grid(images: Tensor, columns: int | None = None, scale: int | None = None) -> Image.Image:
    """All of `images`, uint8 (N, C, H, W) with N >= 1 and C 1, 3 or 4, as one picture, row by row.

    It is nearly square unless `columns` is given. Small images are enlarged by an integer factor, `scale`, so that
    every pixel stays a square. Transparent parts show a checkerboard.
    """
    assert images.dtype == torch.uint8 and len(images) and images.shape[1] in MODES, (images.dtype, images.shape)
    array = as_array(images)
    count, height, width, _ = array.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = math.ceil(count / columns)
    scale = scale or max(1, min(CELL // min(height, width), SHEET // (columns * width), SHEET // (rows * height)))
    array = _on_checks(array.repeat(scale, 1).repeat(scale, 2))
    cell_h, cell_w, channels = array.shape[1] + GUTTER, array.shape[2] + GUTTER, array.shape[3]
    cells = np.full((rows * columns, cell_h, cell_w, channels), NEUTRAL, np.uint8)
    cells[:count, GUTTER:, GUTTER:] = array  # each with the gutter above it and to its left
    sheet = cells.reshape(rows, columns, cell_h, cell_w, channels).swapaxes(1, 2)
    sheet = sheet.reshape(rows * cell_h, columns * cell_w, channels)
    return as_image(np.pad(sheet, ((0, GUTTER), (0, GUTTER), (0, 0)), constant_values=NEUTRAL))


LETTER = 14  # height of captions in pixels


def captioned(sheet: Image.Image, down: Sequence[str], across: Sequence[str]) -> Image.Image:
    """A grid of len(down) rows and len(across) columns, with text to the left of each row and above each column."""
    font = ImageFont.load_default(LETTER)
    left, top = math.ceil(max(map(font.getlength, down))) + LETTER, 2 * LETTER
    whole = Image.new(sheet.mode, (left + sheet.width, top + sheet.height), "white")
    whole.paste(sheet, (left, top))
    pen = ImageDraw.Draw(whole)
    for row, words in enumerate(down):
        pen.text((left - LETTER / 2, top + (row + 0.5) * sheet.height / len(down)), words, "black", font, "rm")
    for column, words in enumerate(across):
        pen.text((left + (column + 0.5) * sheet.width / len(across), LETTER), words, "black", font, "mm")
    return whole


PLOT, EDGE, DOT = 512, 1.25, 40  # pixels of a side; the coordinate at the edge; darkness of one point


def plot(points: Tensor) -> Image.Image:
    """Points (N, 2) in the plane, darker where there are more; points beyond the edge are drawn on it."""
    pixel = ((points.float().cpu().clamp(-EDGE, EDGE) / EDGE + 1) / 2 * (PLOT - 3)).long() + 1  # x to the right, y up
    hits = torch.zeros(PLOT, PLOT)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            hits.index_put_((PLOT - 1 - (pixel[:, 1] + dy), pixel[:, 0] + dx), torch.tensor(1.0), accumulate=True)
    return Image.fromarray((255 - hits * DOT).clamp(0, 255).byte().numpy())


def as_image(array: np.ndarray) -> Image.Image:
    """uint8 (H, W, C) -> a PIL image."""
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def picture_of(image: Tensor) -> Image.Image:
    """One record, uint8 (C, H, W) -> a PIL image."""
    return as_image(as_array(image[None])[0])


def png(image: Image.Image, *, optimize: bool = False) -> bytes:
    """The bytes of a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=optimize)
    return file.getvalue()


def _on_checks(array: np.ndarray) -> np.ndarray:
    """RGBA (N, H, W, 4) on a checkerboard -> RGB. Other modes are returned unchanged."""
    if array.shape[-1] != 4:
        return array
    y, x = np.ogrid[: array.shape[1], : array.shape[2]]
    ground = np.where((y // CHECKS + x // CHECKS) % 2, DARK, LIGHT)[..., None]
    colour, alpha = array[..., :3].astype(np.float32), array[..., 3:] / np.float32(255)
    return np.rint(colour * alpha + ground * (1 - alpha)).astype(np.uint8)
