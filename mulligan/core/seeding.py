"""Random numbers as a function of position: they depend on the step of a run, never on how often it was resumed."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import torch


def mix(*parts: int | str) -> int:
    """One 63-bit seed from any parts; similar parts give unrelated seeds."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_step(seed: int, rank: int, step: int, attempt: int) -> None:
    """Reseed torch, on every device, for one step. `attempt`: after a rewind other random numbers are drawn."""
    torch.manual_seed(mix("step", seed, rank, step, attempt))


def generator_at(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded by `mix(*parts)`, independent of torch's global one."""
    return torch.Generator().manual_seed(mix(*parts))


@lru_cache(maxsize=4)
def _shuffled(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(mix("order", seed, epoch)).permutation(count)


def endless_order(count: int, seed: int, start: int, length: int) -> np.ndarray:
    """Positions `start` to `start + length` of an endless sequence of shuffled epochs over `range(count)`."""
    assert count > 0
    at = np.arange(start, start + length)
    return np.array([_shuffled(count, seed, int(i // count))[i % count] for i in at], dtype=np.int64)
