"""TensorBoard event files, for those who watch several runs side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FLUSH_EVERY = 20  # seconds; what is not flushed is lost when a run is killed


class TensorBoard:
    """Numbers and pictures by images shown.

    `purge_step`: the images shown by a run that goes on; what an earlier process wrote beyond them will be written
    again, so TensorBoard hides it.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        from tensorboardX import SummaryWriter  # imports protobuf: only a run that trains pays for it

        # TensorBoard hides what is at its own purge_step too, and that will not be written again
        self._writer = SummaryWriter(str(folder), purge_step=purge_step + 1, flush_secs=FLUSH_EVERY)

    def scalars(self, row: Mapping[str, float], images: int) -> None:
        """The finite numbers of a row; a curve has a gap where there are others."""
        for name, value in row.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, images)

    def image(self, tag: str, picture: Image.Image, images: int) -> None:
        self._writer.add_image(tag, np.asarray(picture.convert("RGB")), images, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()
