"""Drawing from a generator: sample i of seed s is the same, however many are drawn with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.core.network import Generator
from mulligan.core.sample import Sample
from mulligan.core.seeding import mix

CHUNK = 64  # G always runs on this many at once: arithmetic may differ in the last bit from one batch size to another

Conditions = Callable[[int, int], Condition]  # (start, count) -> what samples start to start + count are given


def noise_at(seed: int, index: int, z_shape: Sequence[int], truncation: float = 1.0) -> Tensor:
    """The noise of one sample. `truncation` < 1 redraws what lies beyond 2 * truncation (Brock 2018, sec. 3.1)."""
    generator = torch.Generator().manual_seed(mix("sample", seed, index))
    z = torch.randn(*z_shape, generator=generator)
    if truncation < 1.0:
        bound = 2.0 * truncation
        while (outside := z.abs() > bound).any():
            z = torch.where(outside, torch.randn(*z_shape, generator=generator), z)
    return z


def class_at(seed: int, index: int, frequencies: np.ndarray) -> int:
    """The class of one sample, drawn by the training set's class frequencies."""
    uniform = torch.rand((), generator=torch.Generator().manual_seed(mix("class", seed, index)), dtype=torch.float64)
    found = int(np.searchsorted(np.cumsum(frequencies), uniform.item(), side="right"))
    return min(found, len(frequencies) - 1)


def nothing(start: int, count: int) -> Condition:
    """The conditions of a generator that takes none."""
    return Condition()


@dataclass(frozen=True)
class ClassConditions:
    """Class ids of samples: `wanted`, or as frequent as in the data; no condition at all where there are no classes."""

    seed: int
    counts: Sequence[int] = ()  # how often the data have each class
    wanted: int | None = None

    def __call__(self, start: int, count: int) -> Condition:
        if not self.counts:
            return Condition()
        if self.wanted is not None:
            return Condition({"class": torch.full((count,), self.wanted, dtype=torch.int64)})
        frequencies = np.asarray(self.counts, dtype=np.float64) / sum(self.counts)
        ids = [class_at(self.seed, i, frequencies) for i in range(start, start + count)]
        return Condition({"class": torch.tensor(ids, dtype=torch.int64)})


@torch.inference_mode()
def draw(
    G: Generator,
    sample: Sample,
    n: int,
    *,
    seed: int,
    conditions: Conditions = nothing,
    truncation: float = 1.0,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Tensor, Condition]]:
    """Blocks of at most `CHUNK` samples, as records, and the condition of each; both on the CPU.

    Raises UserError for a truncation that is not in (0, 1].
    """
    if not 0.0 < truncation <= 1.0:
        raise UserError(f"truncation={truncation} must be above 0 and at most 1 (1: none)")
    G.eval()
    for start in range(0, n, CHUNK):
        z = torch.stack([noise_at(seed, i, G.z_shape, truncation) for i in range(start, start + CHUNK)])
        cond = conditions(start, CHUNK)
        fake = G(z.to(device), cond.to(device))
        keep = min(CHUNK, n - start)
        records = sample.to_records(fake[:keep]).cpu()
        yield records, Condition({name: field[:keep].cpu() for name, field in cond.items()})
