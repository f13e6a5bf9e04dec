"""The interface between the readers of images and the formats that images are stored in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

Progress = Callable[[int, int], None]  # (done, of how many)


@dataclass
class Survey:
    """The sizes and pixel types of the images of a source, as they are stored."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (height, width)
    modes: Counter[str] = field(default_factory=Counter)  # in words: "grey", "RGB", "palette", ...
    channels: Counter[int] = field(default_factory=Counter)  # 1, 3 or 4

    def add(self, height: int, width: int, mode: str, channels: int, count: int = 1) -> None:
        self.sizes[height, width] += count
        self.modes[mode] += count
        self.channels[channels] += count


class Source(Protocol):
    """Images in a fixed order. Cheap to create: `survey` reads all headers, and then `blocks` gives the pixels."""

    format: str  # "folder", "zip", "npz", "idx", "pairs", "digits"
    name: str
    path: Path
    stamp: str  # changes when the images may have changed
    bytes: int  # of the files
    files: int  # number of images, usable or not; like all fields below it is known after `survey`
    ignored: dict[str, int]  # number of files that are not images, by extension
    bad: list[tuple[str, str]]  # images that cannot be used, and why; grows while reading
    classes: list[str]
    heldout: np.ndarray | None  # positions of held-out images, where the source itself names them

    @property
    def labels(self) -> np.ndarray | None: ...  # class ids by position, (N,) int64

    def name_of(self, position: int) -> str: ...

    def survey(self, progress: Progress) -> Survey: ...

    def blocks(self, shape: tuple[int, int, int], progress: Progress) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Blocks of images in order, scaled to `shape` (C, H, W): (positions (b,), pixels uint8 (b, H, W, C))."""
        ...
