"""Where images come from, as the rest of the data floor sees it."""

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
    """What the images of a source are before anything is done to them."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (height, width)
    kinds: Counter[str] = field(default_factory=Counter)  # in words: "grey", "RGB", "palette", ...
    channels: Counter[int] = field(default_factory=Counter)  # 1, 3 or 4

    def add(self, height: int, width: int, kind: str, channels: int, count: int = 1) -> None:
        self.sizes[height, width] += count
        self.kinds[kind] += count
        self.channels[channels] += count


class Source(Protocol):
    """Images in a fixed order. Cheap to make; `survey` looks at all of them once, then `blocks` gives their pixels."""

    kind: str  # "folder", "zip", "npz", "idx", "digits"
    name: str
    path: Path
    stamp: str  # changes whenever the images may have
    bytes: int  # of the files
    files: int  # images there are, usable or not; known after `survey` at the latest, as is all below
    ignored: dict[str, int]  # files that are not images, by extension
    bad: list[tuple[str, str]]  # images that cannot be used, and why; grows while reading
    classes: list[str]
    heldout: np.ndarray | None  # positions, where the source itself says which are for measuring

    @property
    def labels(self) -> np.ndarray | None: ...  # class ids by position, int64

    def name_of(self, position: int) -> str: ...

    def survey(self, progress: Progress) -> Survey: ...

    def blocks(self, shape: tuple[int, int, int], progress: Progress) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """In order, brought to `shape` (C, H, W): (positions (b,), pixels uint8 (b, H, W, C))."""
        ...
