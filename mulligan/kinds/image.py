"""Images: records are uint8 (N, C, H, W), networks see [-1, 1]; saved as grids, folders of PNG files and arrays."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image
from torch import Tensor

from mulligan.core.batch import to_float, to_uint8
from mulligan.core.errors import UserError
from mulligan.core.registry import kinds
from mulligan.core.sample import Sample, Writer
from mulligan.kinds.pictures import as_array, as_image, grid


@kinds.register("image")
@dataclass(frozen=True, kw_only=True)
class ImageSample(Sample):
    """An image of 1, 3 or 4 channels; or a latent of one, with other channels and without records of its own."""

    kind: ClassVar[str] = "image"
    noun: ClassVar[str] = "images"
    axes: ClassVar[str] = "HW"
    features: ClassVar[str] = "random"
    recipe: ClassVar[str] = "digits"
    stored: ClassVar[str] = "uint8"

    shape: tuple[int, int, int]  # channels, height and width in pixels

    def to_net(self, records: Tensor) -> Tensor:
        """uint8 (N, C, H, W) -> float32 in [-1, 1]."""
        return to_float(records)

    def to_records(self, samples: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> uint8, rounded to nearest, clamped."""
        return to_uint8(samples)

    def sheet(self, records: Tensor, columns: int | None = None) -> Image.Image:
        """A grid, nearly square unless `columns` is given."""
        return grid(records, columns)

    def pictures(self, records: Tensor) -> Tensor:
        return records

    def as_array(self, records: Tensor) -> np.ndarray:
        """Channels last, as in other programs: uint8 (N, H, W, C)."""
        return as_array(records)

    def formats(self) -> dict[str, tuple[str, Writer]]:
        return {**super().formats(), "": ("a folder of PNG, by class in sub-folders", self._write_folder)}

    def _write_folder(self, out: Path, records: Tensor, labels: Tensor | None) -> None:
        """000000.png, 000001.png, ... with transparency; by class in sub-folders whose names sort as the class ids do.

        The folder must be new or empty: existing files are never changed. It is written completely or not at all.
        """
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out}: exists and is not an empty folder; choose another name, or remove it")
        ids = None if labels is None else labels.tolist()
        digits = len(str(max(ids, default=0))) if ids else 0
        draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        try:
            draft.mkdir(parents=True)
            for index, array in enumerate(as_array(records)):
                folder = draft if ids is None else draft / f"{ids[index]:0{digits}d}"
                folder.mkdir(exist_ok=True)
                as_image(array).save(folder / f"{index:06d}.png")
            if out.exists():
                out.rmdir()  # empty; Windows cannot rename onto an existing folder
            draft.rename(out)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
