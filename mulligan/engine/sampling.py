"""Drawing from a generator, so that sample i of seed s is one picture, however many are drawn with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mulligan.core.batch import to_records
from mulligan.core.errors import UserError
from mulligan.core.seeding import mix

CHUNK = 64  # G always runs on this many at once: arithmetic may differ in the last bit from one batch size to another


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
    return int(min(np.searchsorted(np.cumsum(frequencies), uniform.item(), side="right"), len(frequencies) - 1))


def classes_for(seed: int, start: int, n: int, counts: Sequence[int], wanted: int | None) -> Tensor | None:
    """Class ids of samples `start` to `start + n`: `wanted`, or as frequent as in the data; None without classes."""
    if not counts:
        return None
    if wanted is not None:
        return torch.full((n,), wanted, dtype=torch.int64)
    frequencies = np.asarray(counts, dtype=np.float64) / sum(counts)
    return torch.tensor([class_at(seed, i, frequencies) for i in range(start, start + n)], dtype=torch.int64)


@torch.inference_mode()
def draw(
    G: nn.Module,
    n: int,
    *,
    seed: int,
    class_counts: Sequence[int] = (),
    wanted: int | None = None,
    truncation: float = 1.0,
    shown: Callable[[int, int], Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Blocks of at most `CHUNK` samples on the CPU, uint8 images or float points, and their class ids (b,) or None.

    `shown(from which, how many)` is what G is shown for samples, where it makes them from images.
    """
    if not 0.0 < truncation <= 1.0:
        raise UserError(f"truncation={truncation} must be above 0 and at most 1 (1: none)")
    G.eval()
    for start in range(0, n, CHUNK):
        z = torch.stack([noise_at(seed, i, G.z_shape, truncation) for i in range(start, start + CHUNK)])
        ids = classes_for(seed, start, CHUNK, class_counts, wanted)
        cond = shown(start, CHUNK) if shown else ids
        fake = G(z.to(device), None if cond is None else cond.to(device))
        keep = min(CHUNK, n - start)
        yield to_records(fake[:keep]).cpu(), None if ids is None else ids[:keep]
