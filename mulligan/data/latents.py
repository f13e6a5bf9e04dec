"""Pictures as an encoder sees them: encoded once, kept in the cache beside the pixels, dealt as if they were the data.

A channel is centred and divided by so many of its deviations that [-1, 1] holds nearly all of it; the rest is clipped,
so that a generator that ends in tanh can make whatever D is shown.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.run import read_json, write_json
from mulligan.data.cache import Rows, cache_root, ensure, require_space
from mulligan.data.dataset import ImageData
from mulligan.data.sources import Progress
from mulligan.data.stacked import StackedData

FORMAT = 1  # of what is in the cache
LATENTS, ABOUT = "latents.f16", "latents.json"
DEVIATIONS = 4.0  # from the middle of a channel to 1
BLOCK = 1 << 20  # pixels that are encoded together

Pictures = ImageData | StackedData


@dataclass(frozen=True, eq=False)
class LatentData:
    """Latents (N, L, h, w) by index, in [-1, 1]; what else there is of pictures is theirs."""

    pictures: Pictures
    shape: tuple[int, int, int]  # L, h, w
    middle: Tensor  # (L,): what of the encoder's scale is 0,
    unit: Tensor  # (L,): and how far 1 is from it
    clipped: float  # share of the training set's numbers that lies beyond -1 and 1
    rows: Rows  # (N, h, w, L) float16 on the encoder's scale, as bytes

    name = property(lambda self: self.pictures.name)
    classes = property(lambda self: self.pictures.classes)
    class_counts = property(lambda self: self.pictures.class_counts)
    train = property(lambda self: self.pictures.train)
    heldout = property(lambda self: self.pictures.heldout)
    fingerprint = property(lambda self: self.pictures.fingerprint)

    def images(self, indices: np.ndarray | Sequence[int]) -> Tensor:
        """float32 (B, L, h, w) in [-1, 1], in channels-last memory."""
        channels, height, width = self.shape
        raw = self.rows.take(np.asarray(indices, np.int64)).view(np.float16).reshape(-1, height, width, channels)
        return ((torch.from_numpy(raw).float() - self.middle) / self.unit).clamp_(-1, 1).permute(0, 3, 1, 2)

    def label_of(self, indices: np.ndarray | Sequence[int]) -> Tensor | None:
        """int64 (B,), or None where unlabelled."""
        return self.pictures.label_of(indices)


def open_latents(
    pictures: Pictures,
    encode: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    stamp: str,
    *,
    progress: Progress,
    cache: Path | None = None,
) -> LatentData:
    """All pictures encoded, now or once before by the encoder of this `stamp`.

    `encode`: uint8 (B, C, H, W) -> (B, *shape) of any scale. Raises UserError where the cache has no room, and where
    what it gives is no number.
    """
    key = hashlib.blake2b(repr((FORMAT, pictures.fingerprint, stamp)).encode(), digest_size=12).hexdigest()
    channels, height, width = shape

    def read(folder: Path) -> LatentData | None:
        try:
            about = read_json(folder / ABOUT)
            rows = Rows(folder / LATENTS, pictures.count, (2 * height * width * channels,))
            scale = (torch.tensor(about[name], dtype=torch.float32) for name in ("middle", "unit"))
            return LatentData(pictures, shape, *scale, about["clipped"], rows)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(draft: Path) -> None:
        require_space(draft, 2 * pictures.count * height * width * channels)
        trained = np.zeros(pictures.count, bool)
        trained[pictures.train] = True
        sums = np.zeros((2, channels))
        with (draft / LATENTS).open("wb") as file:
            for some in _blocks(pictures):
                raw = encode(pictures.images(some)).permute(0, 2, 3, 1).half().numpy()
                if not np.isfinite(raw).all():
                    raise UserError("--autoencoder: some of its latents are infinite or no numbers; take another one")
                file.write(np.ascontiguousarray(raw).data)
                seen = raw[trained[some]].astype(np.float64)
                sums += seen.sum((0, 1, 2)), np.square(seen).sum((0, 1, 2))
                progress(int(some[-1]) + 1, pictures.count)
        middle, squares = sums / (len(pictures.train) * height * width)
        unit = DEVIATIONS * np.sqrt(np.maximum(squares - middle**2, 1e-12))
        about = {"middle": middle.tolist(), "unit": unit.tolist(), "clipped": 0.0}
        write_json(draft / ABOUT, about)
        drafted = read(draft)
        assert drafted is not None
        beyond = sum((drafted.images(some).abs() >= 1).sum().item() for some in _blocks(pictures, pictures.train))
        write_json(draft / ABOUT, about | {"clipped": beyond / len(pictures.train) / np.prod(shape).item()})

    return ensure(cache_root(cache) / f"latents-{key}", read, write)


def _blocks(pictures: Pictures, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    rows = np.arange(pictures.count) if rows is None else rows
    size = max(1, BLOCK // (pictures.shape[1] * pictures.shape[2]))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def scaled_as(data: LatentData, middle: Tensor, unit: Tensor) -> LatentData:
    """The same, on a scale that was measured before."""
    return dataclasses.replace(data, middle=middle, unit=unit)
