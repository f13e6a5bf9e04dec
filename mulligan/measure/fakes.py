"""What is judged: samples of a run, or files that come from anywhere, be it another toolkit or a camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mulligan.core.condition import Condition
from mulligan.core.sample import Sample
from mulligan.data import Dataset

BLOCK = 500  # samples read at once
Blocks = Iterator[tuple[Tensor, Condition]]  # records (b, ...), and what was told of them


@dataclass(frozen=True)
class Fakes:
    """Samples by blocks, as `draw(how many, seed)` gives them."""

    name: str
    sample: Sample
    classes: list[str]  # [] where they have none
    count: int | None  # how many there are; None: as many as one asks for
    draw: Callable[[int, int], Blocks]
    fingerprint: str = ""  # of data; "" where they are made on demand
    trained_on: Dataset | None = None  # by whoever made them, where that is known
    task: str = ""  # where they are made from held-out samples
    similarity: Callable[[], dict[str, float]] = dict  # numbers of those drawn so far against what they were to be


def data_as_fakes(data: Dataset) -> Fakes:
    """All samples of a data set, held out or not; of fewer than there are, evenly spread ones, whatever the seed."""

    def draw(count: int, seed: int) -> Blocks:
        chosen = np.linspace(0, data.count - 1, count).astype(np.int64)
        for start in range(0, count, BLOCK):
            rows = chosen[start : start + BLOCK]
            labels = data.label_of(rows)
            yield data.records(rows), Condition({} if labels is None else {"class": labels})

    return Fakes(data.name, data.sample, list(data.classes), data.count, draw, data.fingerprint)
