"""Exact copies, and which images are held out."""

from __future__ import annotations

import numpy as np

SHARE, MOST = 0.1, 5_000  # share of the images that is held out; their number is at most that
FEWEST = 20  # smaller data sets hold nothing out: nothing can be measured with two images


def groups_of(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each of N images (first, size): the position of its first exact copy, or of itself; the number of copies.

    `digests` (N,) are values that can be sorted.
    """
    _, first, group, sizes = np.unique(digests, return_index=True, return_inverse=True, return_counts=True)
    return first[group], sizes[group]


def choose_heldout(first: np.ndarray, size: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Positions to hold out, sorted: about a tenth of every class. They are the same with every version of numpy.

    Copies of an image are all held out, or none is. Images with very many copies (such as blank ones) are never held
    out.
    """
    count = len(first)
    wanted = min(SHARE * count, MOST)
    if count < FEWEST:
        return np.empty(0, np.int64)
    eligible = np.flatnonzero((first == np.arange(count)) & (size <= max(2, wanted / 10)))
    order = np.lexsort((splitmix(eligible), np.zeros(len(eligible)) if labels is None else labels[eligible]))
    picks = round(wanted * len(eligible) / count)
    spread = ((np.arange(picks) + 0.5) * len(eligible) / max(1, picks)).astype(np.int64)  # evenly: over all classes
    return np.flatnonzero(np.isin(first, eligible[order[spread]]))


def splitmix(positions: np.ndarray) -> np.ndarray:
    """A hash of 64 bits for each position: the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = positions.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
