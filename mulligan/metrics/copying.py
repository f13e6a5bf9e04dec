"""Whether fakes are copies of what was trained on: by features, and pixel by pixel.

A generator that has learnt comes as near to its training images as other images of the same kind do; one that copies
comes nearer. So every measure here is told by images that were held out.
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
from mulligan.metrics.pairs import nearest, nearest_of, same_width, together, usable

LEAST = 10  # held-out images and fakes in a cell that is counted
NEAR = 0.04  # mean absolute difference of pixels, of 0 to 2, within which two pictures are one
THUMB = 8  # pixels of the side by which pictures are compared first


class Beside(NamedTuple):
    """Images, each beside the training image nearest to it by features: what the measures here are made of."""

    distance: Tensor  # (N,) to it
    which: Tensor  # (N,) of it
    gap: Tensor  # (N,) from it to the nearest other training image


def beside(train: Tensor, *others: Tensor) -> list[Beside]:
    """Each of the other sets beside the training images; all are features (N, D)."""
    for each in others:
        same_width(train, each)
    x, *rest = together(
        usable(train, "training", "copying", 2), *(usable(each, "their", "copying", 1) for each in others)
    )
    gaps = nearest_of(x, x, 1)[0][:, 0]
    found = []
    for each in rest:
        squared, which = (one[:, 0] for one in nearest_of(each, x, 1))
        found.append(Beside(squared.sqrt() * x.scale, which, gaps[which].sqrt() * x.scale))
    return found


class Copying(NamedTuple):
    """`z` is below 0 where fakes are nearer to the training images than held-out images are; `p` is its chance."""

    z: float
    p: float
    cells: int  # that were counted


def copying(heldout: Beside, fake: Beside, *, cells: tuple[Tensor, Tensor] | None = None) -> Copying:
    """The data-copying test of Meehan, Chaudhuri and Dasgupta 2020 (arXiv 2004.05675).

    In each cell the distances of fakes and of held-out images to the nearest training image are compared by Mann and
    Whitney's U; `z` is the mean over cells, weighted by their held-out images (their eq. 4). `cells` are those of
    either (N,), as by `cells_of`; by default there is one, and it is the test of all at once. Where a cell has too few
    it is left out.
    """
    theirs_in, ours_in = cells or (torch.zeros_like(side.which) for side in (heldout, fake))
    scores, weights = [], []
    for each in theirs_in.unique():
        ours, theirs = (
            side.distance[among == each].cpu().numpy() for side, among in ((fake, ours_in), (heldout, theirs_in))
        )
        if min(len(ours), len(theirs)) >= (LEAST if cells else 1):
            scores.append(_mann_whitney(ours, theirs))
            weights.append(len(theirs))
    shares = np.array(weights) / sum(weights)
    z = float(shares @ np.array(scores))
    return Copying(z, float(norm.cdf(z / np.sqrt((shares**2).sum()))), len(scores))


def _mann_whitney(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The z score of U, below 0 where ours are smaller; ties are corrected for."""
    found = mannwhitneyu(ours, theirs, alternative="less", method="asymptotic", use_continuity=False)
    return float(norm.ppf(np.clip(found.pvalue, 1e-300, 1 - 1e-16)))


def cells_of(train: Tensor, count: int, *others: Tensor) -> list[Tensor]:
    """For each image of the other sets (N, D) the cluster of training images that it lies in, of `count`: (N,)."""
    centres, _ = kmeans2(train.double().cpu().numpy(), count, minit="++", seed=0)
    return [nearest(each, torch.from_numpy(centres))[1][:, 0] for each in others]


def copied(heldout: Beside, fake: Beside, *, share: float = 0.01) -> float:
    """The share of fakes nearer to a training image than all but `share` of the held-out images are to theirs.

    Of fakes as new as held-out images it is `share`; of copies, 1.
    """
    return (fake.distance < heldout.distance.quantile(share)).double().mean().item()


def authenticity(images: Beside) -> float:
    """The share of images that are not nearer to a training image than that is to the nearest other one.

    Alaa et al. 2022 (arXiv 2102.08921), sec. 4.3. What new images come to depends on the data, somewhat above a half:
    ask it of held-out images too.
    """
    return (images.distance >= images.gap).double().mean().item()


def duplicates(images: Tensor, others: Tensor, *, shifts: int = 2, near: float = NEAR) -> list[tuple[int, int, float]]:
    """Pictures that are there in `others`, also mirrored or shifted: (index, index there, difference).

    Both uint8 (N, C, H, W). The difference is the mean absolute one of pixels in [-1, 1], 0 for exact copies; for each
    picture the nearest that is within `near` of it. Candidates are the nearest thumbnails, so a near copy may be
    missed; exact ones, mirrored or not, never are.
    """
    exact = {hash_of(image): i for i, image in reversed(list(enumerate(others)))}
    found: dict[int, tuple[int, float]] = {}
    for i, image in enumerate(images):
        for shown in (image, image.flip(-1)):
            if (there := exact.get(hash_of(shown))) is not None:
                found.setdefault(i, (there, 0.0))
    rest = torch.tensor([i for i in range(len(images)) if i not in found], dtype=torch.int64)
    if len(rest):
        theirs, ours = _thumbs(others), images[rest]
        for mirrored in (ours, ours.flip(-1)):
            _, candidates = nearest(_thumbs(mirrored), theirs, min(5, len(others)))
            for column in candidates.T:
                for i, there, differs in zip(
                    rest.tolist(), column.tolist(), _difference(mirrored, others[column], shifts).tolist(), strict=True
                ):
                    if differs <= min(near, found.get(i, (0, near))[1]):
                        found[i] = (there, differs)
    return [(i, *found[i]) for i in sorted(found)]


def hash_of(image: Tensor) -> bytes:
    """The same for the same pixels, whatever their layout in memory."""
    return hashlib.blake2b(image.contiguous().numpy().tobytes(), digest_size=16).digest()


def _thumbs(images: Tensor) -> Tensor:
    """(N, C * THUMB^2): small pictures, in which a shift by a pixel or two matters little."""
    return torch.cat([F.adaptive_avg_pool2d(to_float(some), THUMB).flatten(1) for some in images.split(500)])


def _difference(images: Tensor, others: Tensor, shifts: int) -> Tensor:
    """(N,) mean absolute difference at the best shift by at most `shifts` pixels; what moves in is not compared."""
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
