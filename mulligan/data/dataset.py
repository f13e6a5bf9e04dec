"""A data set as training uses it: samples by index, labels, and a part that is held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.sample import Sample
from mulligan.data.checkup import CheckUp

Rows = Callable[[np.ndarray], Tensor]  # int64 indices (B,) -> records (B, ...): a copy, which the caller may change


class Modes(NamedTuple):
    """How to count the modes among samples, for a data set whose modes are known."""

    names: tuple[str, ...]  # of the numbers that `count` gives
    count: Callable[[Tensor, Tensor | None], dict[str, float]]  # (records, their features by the data's net or None)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Samples 0..N-1, read when they are needed. `train` and `heldout` divide the indices between them.

    Readers create it (`registry.readers`). Pairs, two sets and latents differ only in where their rows come from; they
    all use this class.
    """

    name: str
    sample: Sample
    rows: Rows
    train: np.ndarray  # int64, sorted
    heldout: np.ndarray  # int64, sorted
    fingerprint: str  # hex digest of shape, records and labels, in order
    checkup: CheckUp
    classes: list[str] = dataclasses.field(default_factory=list)  # names; [] where there are no labels
    labels: np.ndarray | None = None  # (N,) int64, indices into `classes`
    net: str = ""  # the feature net that was made for these data; "": the one of their kind of sample
    modes: Modes | None = None  # where the modes of the data are known
    partners: Rows | None = None  # of pairs: the other record of each pair, by the same indices
    sides: tuple[Dataset, Dataset] | None = None  # of two sets without pairs: both; the rows here are the second's

    def __post_init__(self) -> None:
        if self.labels is not None and (
            len(self.labels) != self.count
            or self.labels.dtype.kind not in "iu"
            or not 0 <= self.labels.min() <= self.labels.max() < len(self.classes)
        ):
            raise UserError(
                f"{self.name}: its labels are no {self.count:,} whole numbers from 0 to {len(self.classes) - 1}, "
                "one for each sample: an error of its reader"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sample.shape

    @property
    def features(self) -> str:
        """The feature net that fits these data best, of those that need no download."""
        return self.net or self.sample.features

    @property
    def count(self) -> int:
        return len(self.train) + len(self.heldout)

    @property
    def class_counts(self) -> list[int]:
        return list(self.checkup.classes.values())

    def records(self, indices: np.ndarray | Sequence[int]) -> Tensor:
        """Records (B, ...) as the kind of sample stores them: a copy, which the caller may change."""
        return self.rows(np.asarray(indices, np.int64))

    def label_of(self, indices: np.ndarray | Sequence[int]) -> Tensor | None:
        """Class ids, int64 (B,); None where there are no labels."""
        return None if self.labels is None else torch.from_numpy(self.labels[np.asarray(indices, np.int64)])
