"""How far fakes are from real images, by their features: pure functions of two (N, D) tensors, `real` and `fake`.

The arithmetic is float64 (on the CPU where the device has none). The two may differ in count, not in D. Every function
raises UserError for features that are not (N, D), not finite, or too few. In comments: m reals x, n fakes y.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mulligan.core.errors import UserError, unknown
from mulligan.metrics.pairs import blocks, checked, checked_pair, reach, same_width, squared_distances

METRICS = ("fid", "kid", "precision", "recall", "density", "coverage")
SLACK = 1e-12  # of squared norms; far above float64's rounding: points a millionth of their size apart are one


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
    # (A B)^(1/2) has the trace of (A^(1/2) B A^(1/2))^(1/2), which is symmetric: real eigenvalues, also where singular.
    values, vectors = torch.linalg.eigh(real.cov)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    eigenvalues = torch.linalg.eigvalsh(root @ fake.cov @ root)  # ascending
    # With fewer images than dimensions most are 0 by rank; the square roots of their rounding noise would add up.
    rank = min(real.images - 1, fake.images - 1, len(values))
    cross = eigenvalues[-rank:].clamp(min=0).sqrt().sum()
    distance = (real.mean - fake.mean).square().sum() + real.cov.trace() + fake.cov.trace() - 2 * cross
    return max(distance.item(), 0.0)  # below 0 by rounding alone


def kernel_distance(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """KID (Binkowski 2018, arXiv 1801.01401): MMD^2 under the kernel (x.y / D + 1)^3, and its standard error.

    Unbiased, so it may fall below 0 when the sets are alike. It is the U-statistic over all pairs, which has the same
    expectation as the mean over random subsets that papers print, and less noise. Needs 3 of each.
    """
    x, y = checked_pair(real, fake, "KID", 3)
    m, n = len(x), len(y)
    xx, _, square_xx = _kernel_means(x, x, itself=True)
    yy, _, square_yy = _kernel_means(y, y, itself=True)
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


def _kernel_means(a: Tensor, b: Tensor, itself: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Means of the kernel matrix by row (len(a),), by column (len(b),), and of its squares; `itself`: no diagonal."""
    by_row, by_column, square = [], a.new_zeros(len(b)), a.new_zeros(())
    for start, block in blocks(a, len(b)):
        kernel = (block @ b.T / a.shape[1] + 1) ** 3
        if itself:
            kernel.diagonal(start).zero_()
        by_row.append(kernel.sum(1))
        by_column += kernel.sum(0)
        square += kernel.square().sum()
    rows, columns = len(a) - itself, len(b) - itself
    return torch.cat(by_row) / columns, by_column / rows, square / (len(a) * columns)


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
    return {name: each.mean().item() for name, each in in_balls(real, fake, k=k).items()}


def in_balls(real: Tensor, fake: Tensor, *, k: int = 5) -> dict[str, Tensor]:
    """The same, sample by sample, float64: `precision` and `density` by fake (n,), `recall` and `coverage` by real."""
    if k < 1:
        raise UserError(f"k={k} must be at least 1")
    x, y = checked_pair(real, fake, f"precision, recall, density or coverage with k={k}", k + 1)
    centre = x.mean(0)  # far from 0, |x|^2 + |y|^2 - 2 x.y would cancel
    x, y = x - centre, y - centre
    reach_x, reach_y = reach(x, k), reach(y, k)
    balls = torch.zeros(len(y), dtype=torch.int64, device=y.device)  # of reals, around each fake
    recalled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    covered = torch.zeros_like(recalled)
    norms = x.square().sum(1)
    for start, block in blocks(y, len(x)):
        rows = slice(start, start + len(block))
        squared = squared_distances(block, x, norms, SLACK)
        in_ball = squared <= reach_x
        balls[rows] = in_ball.sum(1)
        covered |= in_ball.any(0)
        recalled |= (squared <= reach_y[rows, None]).any(0)
    return {
        "precision": (balls > 0).double(),
        "recall": recalled.double(),
        "density": balls.double() / k,
        "coverage": covered.double(),
    }


def by_class(
    real: Tensor, real_classes: Tensor, fake: Tensor, fake_classes: Tensor, *, k: int = 5
) -> dict[int, dict[str, float | None]]:
    """For every class that fakes were told: the `coverage` of its reals by its own fakes, and their `accuracy`.

    That is the share whose class is the most frequent one of their `k` nearest reals. Classes are (m,) and (n,) int64.
    Either is None for a class of which there are too few.
    """
    x, y = checked_pair(real, fake, f"coverage by class with k={k}", k + 1)
    centre = x.mean(0)
    x, y = x - centre, y - centre
    norms = x.square().sum(1)
    nearest = [squared_distances(b, x, norms).topk(k, dim=1, largest=False).indices for _, b in blocks(y, len(x))]
    right = real_classes[torch.cat(nearest)].mode(1).values == fake_classes
    found: dict[int, dict[str, float | None]] = {}
    for each in fake_classes.unique().tolist():
        mine, theirs = x[real_classes == each], y[fake_classes == each]
        enough = min(len(mine), len(theirs)) > k
        coverage = precision_recall_density_coverage(mine, theirs, k=k)["coverage"] if enough else None
        told = len(mine) > k // 2  # else its own reals could never be the most of k
        accuracy = right[fake_classes == each].double().mean().item() if told else None
        found[each] = {"coverage": coverage, "accuracy": accuracy}
    return found
