"""What is judged: samples of a run, or images that come from anywhere, be it another toolkit's or a camera's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mulligan.data import Data

BLOCK = 500  # images read at once
Blocks = Iterator[tuple[Tensor, Tensor | None]]  # uint8 (b, C, *space), and class ids (b,)


@dataclass(frozen=True)
class Fakes:
    """Images by blocks, as `draw(how many, seed)` gives them."""

    name: str
    shape: tuple[int, ...]  # C, *space
    classes: list[str]  # [] where they have none
    count: int | None  # how many there are; None: as many as one asks for
    draw: Callable[[int, int], Blocks]
    fingerprint: str = ""  # of images; "" where they are made on demand
    trained_on: Data | None = None  # by whoever made them, where that is known
    task: str = ""  # where they are made from held-out images
    beside: Callable[[], dict[str, float]] = dict  # numbers of those that were drawn, beside these images


def images_as_fakes(data: Data) -> Fakes:
    """All images of a data set, held out or not; of fewer than there are, evenly spread ones, whatever the seed."""

    def draw(count: int, seed: int) -> Blocks:
        chosen = np.linspace(0, data.count - 1, count).astype(np.int64)
        for start in range(0, count, BLOCK):
            rows = chosen[start : start + BLOCK]
            yield data.images(rows), data.label_of(rows)

    return Fakes(data.name, data.shape, list(data.classes), data.count, draw, data.fingerprint)
