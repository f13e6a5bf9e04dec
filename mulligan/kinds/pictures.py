"""Samples as files: a grid to look at, a folder to use, an array to compute with."""

from __future__ import annotations

import io
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.run import write_whole

CELL = 64  # pixels that a small image is enlarged towards,
SHEET = 2048  # as long as the whole grid stays no wider and no higher than this
GUTTER, NEUTRAL = 1, 128
CHECKS, LIGHT, DARK = 8, 235, 205  # behind what is transparent
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def as_array(images: Tensor) -> np.ndarray:
    """uint8 (N, C, H, W) on any device -> (N, H, W, C)."""
    return images.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def grid(images: Tensor, columns: int | None = None, scale: int | None = None) -> Image.Image:
    """All of `images`, uint8 (N, C, H, W) with N >= 1 and C 1, 3 or 4, as one picture, row by row.

    It is near square unless `columns` says otherwise. Small images are enlarged by a whole factor, `scale`, so that
    every pixel stays a square; what is transparent is shown on a checkerboard.
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
    cells[:count, GUTTER:, GUTTER:] = array  # each brings the gutter above it and to its left
    sheet = cells.reshape(rows, columns, cell_h, cell_w, channels).swapaxes(1, 2)
    sheet = sheet.reshape(rows * cell_h, columns * cell_w, channels)
    return as_image(np.pad(sheet, ((0, GUTTER), (0, GUTTER), (0, 0)), constant_values=NEUTRAL))


LETTER = 14  # pixels high, of captions


def captioned(sheet: Image.Image, down: Sequence[str], across: Sequence[str]) -> Image.Image:
    """A grid of len(down) rows and len(across) columns, with words beside each row and above each column."""
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


PLOT, EDGE, DOT = 512, 1.25, 40  # pixels of a side; what is shown of the plane; darkness of one point


def plot(points: Tensor) -> Image.Image:
    """Points (N, 2) in the plane, the darker the more lie on one another; those beyond the edge on the edge."""
    at = ((points.float().cpu().clamp(-EDGE, EDGE) / EDGE + 1) / 2 * (PLOT - 3)).long() + 1  # x to the right, y up
    hits = torch.zeros(PLOT, PLOT)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            hits.index_put_((PLOT - 1 - (at[:, 1] + dy), at[:, 0] + dx), torch.tensor(1.0), accumulate=True)
    return Image.fromarray((255 - hits * DOT).clamp(0, 255).byte().numpy())


def picture(samples: Tensor) -> Image.Image:
    """Samples as one looks at them: a grid of pictures, or a plot of points."""
    return grid(samples) if samples.ndim == 4 else plot(samples)


def as_image(array: np.ndarray) -> Image.Image:
    """uint8 (H, W, C) -> a picture."""
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def png(image: Image.Image, *, optimize: bool = False) -> bytes:
    """What a file of it would hold."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=optimize)
    return file.getvalue()


def _on_checks(array: np.ndarray) -> np.ndarray:
    """RGBA (N, H, W, 4) laid over a checkerboard: RGB. Anything else as it is."""
    if array.shape[-1] != 4:
        return array
    y, x = np.ogrid[: array.shape[1], : array.shape[2]]
    ground = np.where((y // CHECKS + x // CHECKS) % 2, DARK, LIGHT)[..., None]
    colour, alpha = array[..., :3].astype(np.float32), array[..., 3:] / np.float32(255)
    return np.rint(colour * alpha + ground * (1 - alpha)).astype(np.uint8)


def save_images(out: Path, images: Tensor, labels: Tensor | None = None) -> None:
    """Write uint8 (N, C, H, W), and class ids (N,) if there are any, in the form that the name of `out` asks for.

    name.png   one grid; of points (N, 2), a plot
    name.npz   `images` uint8 (N, H, W, C), or `points` float32 (N, 2); `labels` int64 (N,)
    name       a folder of 000000.png, 000001.png, ... with transparency kept; by class, in sub-folders named by id,
               whose names sort as the ids do

    A file is replaced. A folder has to be new or empty: what is in one is never touched. Either is there whole or
    not at all. Raises UserError for another suffix, or a folder that holds something.
    """
    if out.is_dir() or not out.suffix:
        if images.ndim != 4:
            raise UserError(f"{out}: points are written as name.png (a plot) or name.npz, not as a folder of pictures")
        _save_folder(out, images, labels)
        return
    file = io.BytesIO()
    match out.suffix.lower():
        case ".png":
            picture(images).save(file, "PNG")
        case ".npz":
            arrays: dict[str, Any] = {"images": as_array(images)} if images.ndim == 4 else {"points": images.numpy()}
            if labels is not None:
                arrays["labels"] = labels.cpu().numpy().astype(np.int64)
            np.savez_compressed(file, **arrays)
        case suffix:
            raise UserError(f"{out}: {suffix} is not written; give name.png (a grid), name.npz, or a folder")
    write_whole(out, file.getvalue())


def _save_folder(out: Path, images: Tensor, labels: Tensor | None) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there already and not an empty folder; choose another name, or remove it")
    ids = None if labels is None else labels.tolist()
    digits = len(str(max(ids, default=0))) if ids else 0
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        draft.mkdir(parents=True)
        for index, array in enumerate(as_array(images)):
            folder = draft if ids is None else draft / f"{ids[index]:0{digits}d}"
            folder.mkdir(exist_ok=True)
            as_image(array).save(folder / f"{index:06d}.png")
        if out.exists():
            out.rmdir()  # empty; Windows renames onto nothing that exists
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
