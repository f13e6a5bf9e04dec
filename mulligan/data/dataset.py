"""A data set as training sees it: uint8 images of one shape behind indices, and a part that is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mulligan.core.run import read_json, write_json
from mulligan.data.cache import Rows
from mulligan.data.checkup import CheckUp

PIXELS, ABOUT = "pixels.u8", "about.json"
LABELS, HELD_OUT = "labels.npy", "heldout.npy"


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images (N, C, H, W) by index, read from the cache when asked for. `train` and `heldout` part 0..N-1 in two."""

    name: str
    shape: tuple[int, int, int]  # C, H, W
    classes: list[str]  # [] where unlabelled
    labels: np.ndarray | None  # (N,) int64, indices into `classes`
    train: np.ndarray  # int64, sorted
    heldout: np.ndarray  # int64, sorted
    fingerprint: str  # hex digest of shape, pixels and labels, in order
    checkup: CheckUp
    rows: Rows  # (N, H, W, C)
    measures: tuple[str, ...] = ()  # names of what `modes` finds

    @property
    def features(self) -> str:
        """The feature net that suits it best, of those that need no download; `random` takes all, and is weak."""
        return "digits" if self.name == "digits" else "random"

    @property
    def count(self) -> int:
        return len(self.train) + len(self.heldout)

    @property
    def class_counts(self) -> list[int]:
        return list(self.checkup.classes.values())

    def images(self, indices: np.ndarray | Sequence[int]) -> Tensor:
        """uint8 (B, C, H, W) in channels-last memory: a copy, yours to change."""
        return torch.from_numpy(self.rows.take(np.asarray(indices, np.int64))).permute(0, 3, 1, 2)

    def modes(self, samples: Tensor, seen: Tensor | None = None) -> dict[str, float]:
        """Of samples, as `images` gives them, what there is to count of modes: of pictures in general nothing.

        `seen`: their features by the net `features`, where they were taken already.
        """
        return {}

    def label_of(self, indices: np.ndarray | Sequence[int]) -> Tensor | None:
        """int64 (B,), or None where unlabelled."""
        return None if self.labels is None else torch.from_numpy(self.labels[np.asarray(indices, np.int64)])


def save_about(
    folder: Path, checkup: CheckUp, fingerprint: str, labels: np.ndarray | None, heldout: np.ndarray
) -> None:
    """All of a data set but its pixels, which are in `folder` already."""
    if labels is not None:
        np.save(folder / LABELS, labels)
    np.save(folder / HELD_OUT, heldout)
    write_json(folder / ABOUT, {"fingerprint": fingerprint, "checkup": checkup.as_dict()})


def load(folder: Path, name: str) -> ImageData | None:
    """The data set in `folder`; None if it is not there, or not whole: somebody may have cleaned up in the cache."""
    try:
        about = read_json(folder / ABOUT)
        checkup = CheckUp(**about["checkup"])
        channels, height, width = checkup.shape.values()
        heldout = np.load(folder / HELD_OUT)
        return ImageData(
            name=name,
            shape=(channels, height, width),
            classes=list(checkup.classes),
            labels=np.load(folder / LABELS) if checkup.classes else None,
            train=np.setdiff1d(np.arange(checkup.images), heldout),
            heldout=heldout,
            fingerprint=about["fingerprint"],
            checkup=checkup,
            rows=Rows(folder / PIXELS, checkup.images, (height, width, channels)),
        )
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return None
