"""Distances of generated from real samples by their features: pure functions of two (N, D) tensors, `real` and `fake`.

The arithmetic is float64 (on the CPU where the device has none). The two may differ in N, not in D. Every function
raises UserError for features that are not (N, D), not finite, or too few. In comments: m reals x, n fakes y.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mulligan.core.errors import UserError, unknown
from mulligan.metrics.pairwise import (
    Tile,
    centred,
    checked,
    checked_pair,
    nearest,
    nearest_of,
    same_width,
    strips,
    tiles,
    tiles_above,
    usable_pair,
)

METRICS = ("fid", "kid", "precision", "recall", "density", "coverage")
KID_PART = 4_000  # samples of each set that KID compares with one another
FEW = 20  # samples of each set that a class needs for a FID of its own


def measure(real: Tensor, fake: Tensor, *, metrics: Sequence[str] = METRICS, k: int = 5) -> dict[str, float]:
    """Each of `metrics` under its name; with "kid" also its standard error, "kid_se". `k` counts neighbours."""
    for name in metrics:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    numbers: dict[str, float] = {}
    if "fid" in metrics:
        numbers["fid"] = frechet_distance(real, fake)
    if "kid" in metrics:
        numbers["kid"], numbers["kid_se"] = kernel_distance(real, fake)
    if set(metrics) - {"fid", "kid"}:
        shares = precision_recall_density_coverage(real, fake, k=k)
        numbers |= {name: share for name, share in shares.items() if name in metrics}
    return numbers


class Moments(NamedTuple):
    """What the Fréchet distance needs of a set of features, so that it is computed only once."""

    mean: Tensor  # (D,) float64
    cov: Tensor  # (D, D) float64, unbiased
    samples: int


def moments(features: Tensor, name: str = "these") -> Moments:
    """Mean and covariance of (N, D) features, N >= 2; `name` is what an error calls them."""
    x = checked(features, name, "FID", 2)
    return Moments(x.mean(0), torch.cov(x.T).reshape(x.shape[1], x.shape[1]), len(x))


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """FID (Heusel 2017, arXiv 1706.08500): the squared Wasserstein-2 distance of two Gaussians; 0 is best.

    The fewer samples, the more it is biased upwards (Binkowski 2018), so compare only numbers of the same counts.
    """
    return frechet_from_moments(moments(real, "real"), moments(fake, "fake"))


def frechet_from_moments(real: Moments, fake: Moments) -> float:
    """|mean difference|^2 + Tr(A + B - 2 (A B)^(1/2)) for covariances A and B."""
    same_width(real.mean, fake.mean)
    # (A B)^(1/2) has the trace of (L' B L)^(1/2) for any L L' = A: symmetric, with real eigenvalues. Cholesky's L is
    # the cheapest; where A is singular it does not exist, and L = A^(1/2).
    root, singular = torch.linalg.cholesky_ex(real.cov)
    if singular or real.samples <= len(real.mean):
        values, vectors = torch.linalg.eigh(real.cov)
        root = vectors * values.clamp(min=0).sqrt()
    eigenvalues = torch.linalg.eigvalsh(root.T @ fake.cov @ root)  # ascending
    # With fewer samples than dimensions most are 0 by rank; the square roots of their rounding errors would add up.
    rank = min(real.samples - 1, fake.samples - 1, len(eigenvalues))
    cross = eigenvalues[-rank:].clamp(min=0).sqrt().sum()
    distance = (real.mean - fake.mean).square().sum() + real.cov.trace() + fake.cov.trace() - 2 * cross
    return max(distance.item(), 0.0)  # below 0 only by rounding


def kernel_distance(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """KID (Binkowski 2018, arXiv 1801.01401): MMD^2 under the kernel (x.y / D + 1)^3, and its standard error.

    Unbiased, so it may be below 0 when the sets are similar. It is the U-statistic over all pairs, which has the same
    expectation as the mean over random subsets that papers print, and less noise. For sets larger than `KID_PART` it is
    the mean over parts of them, so that time grows linearly. Needs 3 of each.
    """
    x, y = usable_pair(real, fake, "KID", 3)
    parts = max(1, min(-(-max(len(x), len(y)) // KID_PART), min(len(x), len(y)) // 3))
    centre = x.mean(0, dtype=torch.float64)
    found = [_kernel_distance(*(_around(each[part::parts], centre) for each in (x, y))) for part in range(parts)]
    return statistics.mean(value for value, _ in found), math.hypot(*(error for _, error in found)) / parts


class _Around(NamedTuple):
    """Features x relative to a centre c, so that products are far more exact than those of x in float32."""

    rest: Tensor  # (N, D) x - c in float32, in which products take half the time
    along: Tensor  # (N,) (c.x - c.c / 2) / D + 1 / 2 in float64: x.y / D + 1 is rest.rest / D + along + along


def _around(features: Tensor, centre: Tensor) -> _Around:
    rest, along = torch.empty_like(features, dtype=torch.float32), centre.new_empty(len(features))
    for rows in strips(len(features)):
        x = features[rows].double()
        along[rows] = (x @ centre - centre @ centre / 2) / len(centre) + 0.5
        rest[rows] = x - centre
    return _Around(rest, along)


def _kernel_distance(x: _Around, y: _Around) -> tuple[float, float]:
    m, n = len(x.rest), len(y.rest)
    xx, square_xx = _kernel_means_within(x)
    yy, square_yy = _kernel_means_within(y)
    xy, yx, square_xy = _kernel_means(x, y)
    value = xx.mean() + yy.mean() - 2 * xy.mean()
    # Hoeffding's decomposition (Sutherland 2017, arXiv 1611.04488, app. A): noise of single samples, and further noise
    # of pairs. The variance of the means above contains the first once and the second twice. For equal distributions
    # the first is 0, and its estimate may be below 0.
    spread = 4 * (xx - xy).var() / m + 4 * (yy - yx).var() / n
    pairs = (
        2 * _pair_variance(square_xx, xx, xx) / (m * (m - 1))
        + 2 * _pair_variance(square_yy, yy, yy) / (n * (n - 1))
        + 4 * _pair_variance(square_xy, xy, yx) / (m * n)
    )
    return value.item(), torch.maximum(spread - pairs, pairs).sqrt().item()


def _kernel(a: _Around, rows: slice, b: _Around, columns: slice) -> Tensor:
    product = a.rest[rows] @ b.rest[columns].T
    base = torch.add(a.along[rows, None], product, alpha=1 / a.rest.shape[1])  # float64 from here on
    return base.add_(b.along[columns]).pow_(3)


def _kernel_means(a: _Around, b: _Around) -> tuple[Tensor, Tensor, Tensor]:
    """Means of the kernel matrix by row (len(a),), by column (len(b),), and of its squares."""
    by_row, by_column = torch.zeros_like(a.along), torch.zeros_like(b.along)
    square = a.along.new_zeros(())
    for rows, columns in tiles(len(by_row), len(by_column)):
        kernel = _kernel(a, rows, b, columns)
        by_row[rows] += kernel.sum(1)
        by_column[columns] += kernel.sum(0)
        square += torch.linalg.vector_norm(kernel).square()
    m, n = len(by_row), len(by_column)
    return by_row / n, by_column / m, square / (m * n)


def _kernel_means_within(a: _Around) -> tuple[Tensor, Tensor]:
    """The same for a set with itself, without the diagonal: by row, and of the squares."""
    by_row, square = torch.zeros_like(a.along), a.along.new_zeros(())
    for rows, columns, diagonal in tiles_above(len(by_row)):
        kernel = _kernel(a, rows, a, columns)
        if diagonal:
            kernel.fill_diagonal_(0)
        else:
            by_row[columns] += kernel.sum(0)
        by_row[rows] += kernel.sum(1)
        square += torch.linalg.vector_norm(kernel).square() * (1 if diagonal else 2)
    m = len(by_row)
    return by_row / (m - 1), square / (m * (m - 1))


def _pair_variance(square: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """Variance of a matrix after the means of its rows and columns are subtracted."""
    explained = by_row.mean() ** 2 + by_row.var(correction=0) + by_column.var(correction=0)
    return (square - explained).clamp(min=0)


def precision_recall_density_coverage(real: Tensor, fake: Tensor, *, k: int = 5) -> dict[str, float]:
    """Shares by a ball around each sample, whose radius is the distance to its `k`-th nearest neighbour in its own set.

    `precision`: share of fakes in the ball of any real; `recall`: of reals in the ball of any fake (Kynkäänniemi 2019,
    arXiv 1904.06991). `density`: number of real balls around a fake, over k (may exceed 1); `coverage`: share of reals
    whose ball contains a fake (Naeem 2020, arXiv 2002.09797). Balls are closed: a copy of a duplicated real is inside.
    Needs k + 1 of each.
    """
    if k < 1:
        raise UserError(f"k={k} must be at least 1")
    x, y = centred(*usable_pair(real, fake, f"precision, recall, density or coverage with k={k}", k + 1))
    radius_x, radius_y = (nearest_of(each, each, k)[0][:, -1] for each in (x, y))  # squared
    balls = torch.zeros(len(radius_y), dtype=torch.int64, device=radius_y.device)  # of reals, around each fake
    recalled = torch.zeros(len(radius_x), dtype=torch.bool, device=radius_x.device)
    covered = torch.zeros_like(recalled)
    for rows, columns in tiles(len(radius_y), len(radius_x)):
        tile = Tile(y, rows, x, columns)
        in_ball = tile.within(radius_x[columns])
        balls[rows] += in_ball.count_nonzero(1)
        covered[columns] |= in_ball.any(0)
        recalled[columns] |= tile.within(radius_y[rows, None]).any(0)
    shares = {"precision": balls > 0, "recall": recalled, "density": balls.double() / k, "coverage": covered}
    return {name: each.double().mean().item() for name, each in shares.items()}


def by_class(
    real: Tensor, real_classes: Tensor, fake: Tensor, fake_classes: Tensor, *, k: int = 5
) -> dict[int, dict[str, float | None]]:
    """For every class of fakes: its own `fid` and `coverage`, and the `accuracy` of its fakes.

    Accuracy is the share of fakes whose class is the most frequent one of their `k` nearest reals. Classes are (m,) and
    (n,) int64. A number is None for a class with too few samples: for FID fewer than `FEW` in either set, and its bias
    is large even then.
    """
    x, y = checked_pair(real, fake, f"coverage by class with k={k}", k + 1)
    correct = real_classes[nearest(y, x, k)[1]].mode(1).values == fake_classes
    found: dict[int, dict[str, float | None]] = {}
    for each in fake_classes.unique().tolist():
        reals, fakes = x[real_classes == each], y[fake_classes == each]
        enough = min(len(reals), len(fakes)) > k
        coverage = precision_recall_density_coverage(reals, fakes, k=k)["coverage"] if enough else None
        fid = frechet_distance(reals, fakes) if min(len(reals), len(fakes)) >= FEW else None
        possible = len(reals) > k // 2  # otherwise its reals can never be the majority of k
        accuracy = correct[fake_classes == each].double().mean().item() if possible else None
        found[each] = {"coverage": coverage, "accuracy": accuracy, "fid": fid}
    return found
