"""Images as latents of an autoencoder. They are encoded once, saved in the cache, and used in place of the images.

Each channel is centred and divided by four times its standard deviation, so that nearly all numbers are in [-1, 1]; the
others are clipped. So a generator that ends in tanh can make everything that D sees.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.run import read_json, write_json
from mulligan.data.cache import RowFile, cache_root, ensure, require_space
from mulligan.data.dataset import Dataset, Rows
from mulligan.data.sources import Progress
from mulligan.kinds.image import ImageSample

FORMAT = 1  # version of the cache folders
LATENTS, ABOUT = "latents.f16", "latents.json"
DEVIATIONS = 4.0  # standard deviations of a channel that become 1
BLOCK = 1 << 20  # pixels that are encoded together


@dataclass(frozen=True, eq=False)
class LatentDataset:
    """A data set of latents (L, h, w) in [-1, 1], and the scale by which they were normalised."""

    data: Dataset
    middle: Tensor  # (L,), on the encoder's scale: the value that becomes 0
    unit: Tensor  # (L,), on the encoder's scale: the distance from `middle` of the value that becomes 1
    clipped: float  # share of the numbers in the training set that are outside of [-1, 1]
    stored: Rows  # float16 (B, h, w, L), on the encoder's scale

    @staticmethod
    def of(images: Dataset, shape: tuple[int, int, int], middle: Tensor, unit: Tensor, clipped: float, stored: Rows):
        def rows(indices: np.ndarray) -> Tensor:
            """float32 (B, L, h, w) in [-1, 1], in channels-last memory."""
            return ((stored(indices).float() - middle) / unit).clamp_(-1, 1).permute(0, 3, 1, 2)

        data = dataclasses.replace(images, sample=ImageSample(shape=shape), rows=rows)
        return LatentDataset(data, middle, unit, clipped, stored)

    def scaled_as(self, middle: Tensor, unit: Tensor) -> LatentDataset:
        """The same latents, normalised by a scale that was measured before."""
        return LatentDataset.of(self.data, self.data.shape, middle, unit, self.clipped, self.stored)


def open_latents(
    images: Dataset,
    encode: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    stamp: str,
    *,
    progress: Progress,
    cache: Path | None = None,
) -> LatentDataset:
    """All images, encoded now, or earlier by an encoder with the same `stamp`.

    `encode`: uint8 (B, C, H, W) -> (B, *shape), on any scale. Raises UserError where the cache has too little space,
    and where latents are infinite or not a number.
    """
    key = hashlib.blake2b(repr((FORMAT, images.fingerprint, stamp)).encode(), digest_size=12).hexdigest()
    channels, height, width = shape

    def read(folder: Path) -> LatentDataset | None:
        try:
            about = read_json(folder / ABOUT)
            file = RowFile(folder / LATENTS, images.count, (height, width, channels), np.float16)
            middle, unit = (torch.tensor(about[name], dtype=torch.float32) for name in ("middle", "unit"))
            return LatentDataset.of(
                images, shape, middle, unit, about["clipped"], lambda rows: torch.from_numpy(file.take(rows))
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(draft: Path) -> None:
        require_space(draft, 2 * images.count * height * width * channels)
        trained = np.zeros(images.count, bool)
        trained[images.train] = True
        sums = np.zeros((2, channels))
        with (draft / LATENTS).open("wb") as file:
            for rows in _blocks(images):
                raw = encode(images.records(rows)).permute(0, 2, 3, 1).half().numpy()
                if not np.isfinite(raw).all():
                    raise UserError(
                        "--autoencoder: some of its latents are infinite or not a number; choose another autoencoder"
                    )
                file.write(np.ascontiguousarray(raw).data)
                values = raw[trained[rows]].astype(np.float64)
                sums += values.sum((0, 1, 2)), np.square(values).sum((0, 1, 2))
                progress(int(rows[-1]) + 1, images.count)
        middle, squares = sums / (len(images.train) * height * width)
        unit = DEVIATIONS * np.sqrt(np.maximum(squares - middle**2, 1e-12))
        about = {"middle": middle.tolist(), "unit": unit.tolist(), "clipped": 0.0}
        write_json(draft / ABOUT, about)
        drafted = read(draft)
        assert drafted is not None
        outside = sum((drafted.data.records(rows).abs() >= 1).sum().item() for rows in _blocks(images, images.train))
        write_json(draft / ABOUT, about | {"clipped": outside / len(images.train) / np.prod(shape).item()})

    return ensure(cache_root(cache) / f"latents-{key}", read, write)


def _blocks(images: Dataset, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    rows = np.arange(images.count) if rows is None else rows
    size = max(1, BLOCK // (images.shape[1] * images.shape[2]))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
