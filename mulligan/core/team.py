"""Several processes that train one game together, each on its share of every batch.

Each has a copy of both networks, with equal weights at first. They stay equal, since every process takes the same step,
along the mean of all gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

Value = TypeVar("Value")


class Team:
    """A single process. Teams of several inherit from it; all their processes make the same calls in the same order."""

    rank: int = 0  # which process this is, from 0
    size: int = 1  # how many there are

    def mean_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, in place, by its mean over all processes."""

    def agree(self, value: Value) -> Value:
        """The value (JSON) that rank 0 passed. For values that may differ between processes, such as the time."""
        return value


@functools.cache
def alone() -> Team:
    """The team of this process only."""
    return Team()
