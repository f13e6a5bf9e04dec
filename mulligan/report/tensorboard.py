"""TensorBoard event files, to watch several runs together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FLUSH_EVERY = 20  # seconds; what is not flushed is lost if the process is killed


class TensorBoard:
    """Numbers and pictures over the count of training samples.

    `purge_step`: the samples of a resumed run so far. What an earlier process wrote after them will be written again,
    so TensorBoard hides it.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        from tensorboardX import SummaryWriter  # imports protobuf, so only a run that trains imports it

        # TensorBoard also hides what is exactly at its purge_step, which will not be written again
        self._writer = SummaryWriter(str(folder), purge_step=purge_step + 1, flush_secs=FLUSH_EVERY)

    def scalars(self, row: Mapping[str, float], samples: int) -> None:
        """The finite numbers of a row; curves have gaps at other numbers."""
        for name, value in row.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, samples)

    def image(self, tag: str, picture: Image.Image, samples: int) -> None:
        self._writer.add_image(tag, np.asarray(picture.convert("RGB")), samples, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()
