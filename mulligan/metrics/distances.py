"""How far fakes are from real images, by their features: pure functions of two (N, D) tensors, `real` and `fake`.

The arithmetic is float64 (on the CPU where the device has none). The two may differ in count, not in D. Every function
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
from mulligan.metrics.pairs import (
    Tile,
    checked,
    checked_pair,
    nearest,
    nearest_of,
    same_width,
    strips,
    tiles,
    tiles_above,
    together,
    usable_pair,
)

METRICS = ("fid", "kid", "precision", "recall", "density", "coverage")
TOGETHER = 4_000  # images a side that KID compares with one another
FEW = 20  # images a side from which a class has a FID of its own


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
    """All that the Fréchet distance asks of a set of features, so that it need be asked only once."""

    mean: Tensor  # (D,) float64
    cov: Tensor  # (D, D) float64, unbiased
    images: int


def moments(features: Tensor, side: str = "these") -> Moments:
    """Mean and covariance of (N, D) features, N >= 2; `side` says whose they are in an error."""
    x = checked(features, side, "FID", 2)
    return Moments(x.mean(0), torch.cov(x.T).reshape(x.shape[1], x.shape[1]), len(x))


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """FID (Heusel 2017, arXiv 1706.08500): the squared Wasserstein-2 distance of two Gaussians; 0 is best.

    Biased upwards, the more the fewer images (Binkowski 2018), so compare only numbers made with the same counts.
    """
    return frechet_from_moments(moments(real, "real"), moments(fake, "fake"))


def frechet_from_moments(real: Moments, fake: Moments) -> float:
    """|mean difference|^2 + Tr(A + B - 2 (A B)^(1/2)) for covariances A and B."""
    same_width(real.mean, fake.mean)
    # (A B)^(1/2) has the trace of (L' B L)^(1/2) for any L L' = A: symmetric, with real eigenvalues. Cholesky's is the
    # cheap one; where A is singular, there is none, and A^(1/2) is one.
    root, singular = torch.linalg.cholesky_ex(real.cov)
    if singular or real.images <= len(real.mean):
        values, vectors = torch.linalg.eigh(real.cov)
        root = vectors * values.clamp(min=0).sqrt()
    eigenvalues = torch.linalg.eigvalsh(root.T @ fake.cov @ root)  # ascending
    # With fewer images than dimensions most are 0 by rank; the square roots of their rounding noise would add up.
    rank = min(real.images - 1, fake.images - 1, len(eigenvalues))
    cross = eigenvalues[-rank:].clamp(min=0).sqrt().sum()
    distance = (real.mean - fake.mean).square().sum() + real.cov.trace() + fake.cov.trace() - 2 * cross
    return max(distance.item(), 0.0)  # below 0 by rounding alone


def kernel_distance(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """KID (Binkowski 2018, arXiv 1801.01401): MMD^2 under the kernel (x.y / D + 1)^3, and its standard error.

    Unbiased, so it may fall below 0 when the sets are alike. It is the U-statistic over all pairs, which has the same
    expectation as the mean over random subsets that papers print, and less noise; of sets of more than `TOGETHER` it is
    the mean over parts of them, so that time grows as they do. Needs 3 of each.
    """
    x, y = usable_pair(real, fake, "KID", 3)
    parts = max(1, min(-(-max(len(x), len(y)) // TOGETHER), min(len(x), len(y)) // 3))
    centre = x.mean(0, dtype=torch.float64)
    found = [_kernel_distance(*(_around(side[part::parts], centre) for side in (x, y))) for part in range(parts)]
    return statistics.mean(value for value, _ in found), math.hypot(*(error for _, error in found)) / parts


class _Around(NamedTuple):
    """Features x around a centre c, for products that come out exact to far more than float32's digits."""

    rest: Tensor  # (N, D) x - c in float32, in which products take half of the time
    along: Tensor  # (N,) (c.x - c.c / 2) / D + 1 / 2 in float64: x.y / D + 1 is rest.rest / D + along + along


def _around(given: Tensor, centre: Tensor) -> _Around:
    rest, along = torch.empty_like(given, dtype=torch.float32), centre.new_empty(len(given))
    for rows in strips(len(given)):
        x = given[rows].double()
        along[rows] = (x @ centre - centre @ centre / 2) / len(centre) + 0.5
        rest[rows] = x - centre
    return _Around(rest, along)


def _kernel_distance(x: _Around, y: _Around) -> tuple[float, float]:
    m, n = len(x.rest), len(y.rest)
    xx, square_xx = _kernel_means_within(x)
    yy, square_yy = _kernel_means_within(y)
    xy, yx, square_xy = _kernel_means(x, y)
    value = xx.mean() + yy.mean() - 2 * xy.mean()
    # Hoeffding's decomposition (Sutherland 2017, arXiv 1611.04488, app. A): noise from single samples, and noise from
    # pairs beyond that. The spread of the means above holds the first once and the second twice. For sets that are
    # alike the first is 0, and its estimate may fall below.
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
    """The same of a set with itself, without its diagonal: by row, and of its squares."""
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
    """Variance of what is left of a matrix when the means of its rows and columns are taken out."""
    explained = by_row.mean() ** 2 + by_row.var(correction=0) + by_column.var(correction=0)
    return (square - explained).clamp(min=0)


def precision_recall_density_coverage(real: Tensor, fake: Tensor, *, k: int = 5) -> dict[str, float]:
    """Shares by a ball around each sample, which reaches to its `k`-th nearest neighbour among the others of its set.

    `precision`: of fakes in the ball of any real; `recall`: of reals in the ball of any fake (Kynkäänniemi 2019, arXiv
    1904.06991). `density`: real balls a fake lies in, over k (may exceed 1); `coverage`: of reals whose ball holds a
    fake (Naeem 2020, arXiv 2002.09797). Balls are closed: a copy of a duplicated real is inside. Needs k + 1 of each.
    """
    if k < 1:
        raise UserError(f"k={k} must be at least 1")
    x, y = together(*usable_pair(real, fake, f"precision, recall, density or coverage with k={k}", k + 1))
    reach_x, reach_y = (nearest_of(side, side, k)[0][:, -1] for side in (x, y))
    balls = torch.zeros(len(reach_y), dtype=torch.int64, device=reach_y.device)  # of reals, around each fake
    recalled = torch.zeros(len(reach_x), dtype=torch.bool, device=reach_x.device)
    covered = torch.zeros_like(recalled)
    for rows, columns in tiles(len(reach_y), len(reach_x)):
        tile = Tile(y, rows, x, columns)
        in_ball = tile.within(reach_x[columns])
        balls[rows] += in_ball.count_nonzero(1)
        covered[columns] |= in_ball.any(0)
        recalled[columns] |= tile.within(reach_y[rows, None]).any(0)
    shares = {"precision": balls > 0, "recall": recalled, "density": balls.double() / k, "coverage": covered}
    return {name: each.double().mean().item() for name, each in shares.items()}


def by_class(
    real: Tensor, real_classes: Tensor, fake: Tensor, fake_classes: Tensor, *, k: int = 5
) -> dict[int, dict[str, float | None]]:
    """For every class that fakes were told: its own `fid` and `coverage`, and the `accuracy` of its fakes.

    That is the share whose class is the most frequent one of their `k` nearest reals. Classes are (m,) and (n,) int64.
    Each is None for a class of which there are too few: fewer than `FEW` of either side, of FID, whose bias is large
    even then.
    """
    x, y = checked_pair(real, fake, f"coverage by class with k={k}", k + 1)
    right = real_classes[nearest(y, x, k)[1]].mode(1).values == fake_classes
    found: dict[int, dict[str, float | None]] = {}
    for each in fake_classes.unique().tolist():
        mine, theirs = x[real_classes == each], y[fake_classes == each]
        enough = min(len(mine), len(theirs)) > k
        coverage = precision_recall_density_coverage(mine, theirs, k=k)["coverage"] if enough else None
        fid = frechet_distance(mine, theirs) if min(len(mine), len(theirs)) >= FEW else None
        told = len(mine) > k // 2  # else its own reals could never be the most of k
        accuracy = right[fake_classes == each].double().mean().item() if told else None
        found[each] = {"coverage": coverage, "accuracy": accuracy, "fid": fid}
    return found
