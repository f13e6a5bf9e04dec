"""Whether generated samples are copies of training samples: by features, by bytes, and for images pixel by pixel.

A generator that generalises comes as close to its training samples as other real samples do; one that copies comes
closer. So every measure here compares with samples that were held out.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from scipy.stats import mannwhitneyu, norm
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.batch import to_float
from mulligan.metrics.pairwise import centred, nearest, nearest_of, same_width, usable

LEAST = 10  # held-out samples and fakes in a cell that is counted
LIMIT = 0.04  # mean absolute difference of pixels, of 0 to 2, up to which two images count as the same
THUMB = 8  # pixels of a side of the thumbnails that images are compared by first


class NearestTraining(NamedTuple):
    """For each sample the training sample nearest to it by features: all measures by features use it."""

    distance: Tensor  # (N,) to the nearest training sample
    index: Tensor  # (N,) of that training sample
    gap: Tensor  # (N,) from that training sample to its nearest other one


def nearest_training(train: Tensor, *others: Tensor) -> list[NearestTraining]:
    """For each of the other sets; all are features (N, D)."""
    for each in others:
        same_width(train, each)
    x, *rest = centred(
        usable(train, "training", "copying", 2), *(usable(each, "their", "copying", 1) for each in others)
    )
    gaps = nearest_of(x, x, 1)[0][:, 0]
    found = []
    for each in rest:
        squared, index = (one[:, 0] for one in nearest_of(each, x, 1))
        found.append(NearestTraining(squared.sqrt() * x.scale, index, gaps[index].sqrt() * x.scale))
    return found


class Copying(NamedTuple):
    """`z` is below 0 where fakes are closer to the training samples than held-out samples are; `p` is its p-value."""

    z: float
    p: float
    cells: int  # that were counted


def copying(heldout: NearestTraining, fake: NearestTraining, *, cells: tuple[Tensor, Tensor] | None = None) -> Copying:
    """The data-copying test of Meehan, Chaudhuri and Dasgupta 2020 (arXiv 2004.05675).

    In each cell the distances of fakes and of held-out samples to the nearest training sample are compared by Mann and
    Whitney's U; `z` is the mean over cells, weighted by their held-out samples (their eq. 4). `cells` are those of
    held-out samples and of fakes, (N,) each, as by `cells_of`; without them one cell holds all. Cells with too few
    samples are left out.
    """
    heldout_cells, fake_cells = cells or (torch.zeros_like(each.index) for each in (heldout, fake))
    scores, weights = [], []
    for cell in heldout_cells.unique():
        fakes, others = (
            each.distance[own == cell].cpu().numpy() for each, own in ((fake, fake_cells), (heldout, heldout_cells))
        )
        if min(len(fakes), len(others)) >= (LEAST if cells else 1):
            scores.append(_mann_whitney(fakes, others))
            weights.append(len(others))
    shares = np.array(weights) / sum(weights)
    z = float(shares @ np.array(scores))
    return Copying(z, float(norm.cdf(z / np.sqrt((shares**2).sum()))), len(scores))


def _mann_whitney(fakes: np.ndarray, others: np.ndarray) -> float:
    """The z score of U, below 0 where the fakes' numbers are smaller; corrected for ties."""
    found = mannwhitneyu(fakes, others, alternative="less", method="asymptotic", use_continuity=False)
    return float(norm.ppf(np.clip(found.pvalue, 1e-300, 1 - 1e-16)))


def cells_of(train: Tensor, count: int, *others: Tensor) -> list[Tensor]:
    """For each sample of the other sets (N, D) its cluster, of `count` clusters of the training samples: (N,)."""
    centres, _ = kmeans2(train.double().cpu().numpy(), count, minit="++", seed=0)
    return [nearest(each, torch.from_numpy(centres))[1][:, 0] for each in others]


def copied(heldout: NearestTraining, fake: NearestTraining, *, share: float = 0.01) -> float:
    """The share of fakes closer to a training sample than all but `share` of the held-out samples are.

    For fakes as new as held-out samples it is `share`; for copies, 1.
    """
    return (fake.distance < heldout.distance.quantile(share)).double().mean().item()


def authenticity(samples: NearestTraining) -> float:
    """The share of samples that are at least as far from a training sample as that is from its nearest other one.

    Alaa et al. 2022 (arXiv 2102.08921), sec. 4.3. Its value for new samples depends on the data and is somewhat above
    0.5, so compute it for held-out samples too.
    """
    return (samples.distance >= samples.gap).double().mean().item()


def duplicates(records: Tensor, others: Tensor) -> list[tuple[int, int, float]]:
    """Records (N, ...) that are also in `others`, byte for byte: (index, index in others, 0.0). Any kind of sample."""
    index = _by_hash(others)
    matches = ((i, index.get(hash_of(record))) for i, record in enumerate(records))
    return [(i, other, 0.0) for i, other in matches if other is not None]


def image_duplicates(
    images: Tensor, others: Tensor, *, shifts: int = 2, limit: float = LIMIT
) -> list[tuple[int, int, float]]:
    """Images that are also in `others`, perhaps mirrored or shifted: (index, index in others, difference).

    Both uint8 (N, C, H, W). The difference is the mean absolute one of pixels in [-1, 1], 0 for exact copies; for each
    image the nearest one within `limit`. Candidates are the nearest thumbnails, so a near copy may be missed; exact
    ones, mirrored or not, never are.
    """
    exact = _by_hash(others)
    found: dict[int, tuple[int, float]] = {}
    for i, image in enumerate(images):
        for version in (image, image.flip(-1)):
            if (other := exact.get(hash_of(version))) is not None:
                found.setdefault(i, (other, 0.0))
    rest = torch.tensor([i for i in range(len(images)) if i not in found], dtype=torch.int64)
    if len(rest):
        thumbs, remaining = _thumbs(others), images[rest]
        for version in (remaining, remaining.flip(-1)):
            _, candidates = nearest(_thumbs(version), thumbs, min(5, len(others)))
            for column in candidates.T:
                differences = _difference(version, others[column], shifts).tolist()
                for i, other, difference in zip(rest.tolist(), column.tolist(), differences, strict=True):
                    if difference <= min(limit, found.get(i, (0, limit))[1]):
                        found[i] = (other, difference)
    return [(i, *found[i]) for i in sorted(found)]


def hash_of(record: Tensor) -> bytes:
    """The same for the same numbers of one dtype, whatever their layout in memory."""
    return hashlib.blake2b(record.contiguous().numpy().tobytes(), digest_size=16).digest()


def _by_hash(records: Tensor) -> dict[bytes, int]:
    """Hash -> the first index of that record."""
    return {hash_of(record): i for i, record in reversed(list(enumerate(records)))}


def _thumbs(images: Tensor) -> Tensor:
    """(N, C * THUMB^2): thumbnails, which a shift by one or two pixels changes little."""
    return torch.cat([F.adaptive_avg_pool2d(to_float(part), THUMB).flatten(1) for part in images.split(500)])


def _difference(images: Tensor, others: Tensor, shifts: int) -> Tensor:
    """(N,) mean absolute difference at the best shift by at most `shifts` pixels, where both images overlap."""
    a, b = to_float(images), to_float(others)
    height, width = a.shape[2:]
    shifts = min(shifts, height - 1, width - 1)
    best = torch.full((len(a),), torch.inf)
    for dy in range(-shifts, shifts + 1):
        for dx in range(-shifts, shifts + 1):
            ours = a[:, :, max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
            theirs = b[:, :, max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
            best = torch.minimum(best, (ours - theirs).abs().flatten(1).mean(1))
    return best
