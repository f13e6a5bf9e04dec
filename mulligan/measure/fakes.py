"""The samples to evaluate: of a run, or files from any source, such as another toolkit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mulligan.core.condition import Condition
from mulligan.core.sample import Sample
from mulligan.data import Dataset

BLOCK = 500  # samples read at once
Blocks = Iterator[tuple[Tensor, Condition]]  # records (b, ...), and their condition


@dataclass(frozen=True)
class Fakes:
    """Samples in blocks, which `draw(number, seed)` returns."""

    name: str
    sample: Sample
    classes: list[str]  # [] if they have none
    count: int | None  # how many there are; None: any number
    draw: Callable[[int, int], Blocks]
    fingerprint: str = ""  # of data; "" if they are generated on demand
    trained_on: Dataset | None = None  # the data that their model was trained on, if known
    task: str = ""  # of pairs, if they are made from held-out samples
    similarity: Callable[[], dict[str, float]] = dict  # metrics of those drawn so far against their targets


def data_as_fakes(data: Dataset) -> Fakes:
    """All samples of a data set, held-out or not. If fewer are drawn, they are evenly spaced, whatever the seed."""

    def draw(count: int, seed: int) -> Blocks:
        chosen = np.linspace(0, data.count - 1, count).astype(np.int64)
        for start in range(0, count, BLOCK):
            rows = chosen[start : start + BLOCK]
            labels = data.label_of(rows)
            yield data.records(rows), Condition({} if labels is None else {"class": labels})

    return Fakes(data.name, data.sample, list(data.classes), data.count, draw, data.fingerprint)
