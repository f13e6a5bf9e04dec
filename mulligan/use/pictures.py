"""Samples as files: a grid to look at, a folder to use, an array to compute with."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.run import write_whole

GUTTER, BACKGROUND = 2, 128
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def as_array(images: Tensor) -> np.ndarray:
    """uint8 (N, C, H, W) -> (N, H, W, C)."""
    return images.permute(0, 2, 3, 1).contiguous().numpy()


def _picture(array: np.ndarray) -> Image.Image:
    """(H, W, C) -> a picture."""
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array, MODES[array.shape[-1]])


def grid(images: Tensor, columns: int | None = None, scale: int | None = None) -> Image.Image:
    """uint8 (N, C, H, W) as one picture, near square; small images are enlarged by a whole factor, pixels kept."""
    array = as_array(images)
    count, height, width, channels = array.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    scale = scale or max(1, round(64 / max(height, width)))
    cell_h, cell_w = height * scale + GUTTER, width * scale + GUTTER
    sheet = np.full((rows * cell_h + GUTTER, columns * cell_w + GUTTER, channels), BACKGROUND, np.uint8)
    for index, image in enumerate(array):
        top, left = (index // columns) * cell_h + GUTTER, (index % columns) * cell_w + GUTTER
        sheet[top : top + height * scale, left : left + width * scale] = image.repeat(scale, 0).repeat(scale, 1)
    return _picture(sheet)


def save_images(out: Path, images: Tensor, labels: Tensor | None = None) -> None:
    """Write by the name of `out`: `.png` a grid, `.npz` arrays, no suffix a folder of PNGs (by class if labelled).

    Raises UserError for another suffix, and for a folder that holds other things already.
    """
    match out.suffix.lower():
        case ".png":
            file = io.BytesIO()
            grid(images).save(file, "PNG", optimize=True)
            write_whole(out, file.getvalue())
        case ".npz":
            file = io.BytesIO()
            arrays = {"images": as_array(images)}
            if labels is not None:
                arrays["labels"] = labels.numpy()
            np.savez_compressed(file, **arrays)
            write_whole(out, file.getvalue())
        case "":
            _save_folder(out, images, labels)
        case suffix:
            raise UserError(f"{out}: {suffix} is not written; use a name.png (grid), a name.npz, or a folder")


def _save_folder(out: Path, images: Tensor, labels: Tensor | None) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not an empty folder; choose another --out")
    for index, array in enumerate(as_array(images)):
        folder = out if labels is None else out / str(int(labels[index]))
        folder.mkdir(parents=True, exist_ok=True)
        _picture(array).save(folder / f"{index:06d}.png")
