"""TensorBoard event files, for those who watch several runs side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


class TensorBoard:
    """Numbers and pictures by images shown. `purge_step`: what was written beyond it, by a run since rewound, is hidden."""

    def __init__(self, folder: Path, purge_step: int) -> None:
        from tensorboardX import SummaryWriter  # imports protobuf: only a run that trains pays for it

        self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def scalars(self, row: Mapping[str, float], images: int) -> None:
        for name, value in row.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, images)

    def image(self, tag: str, picture: Image.Image, images: int) -> None:
        self._writer.add_image(tag, np.asarray(picture.convert("RGB")), images, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()
