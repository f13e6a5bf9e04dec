"""Distances without a bias by the number of samples, and a test of whether there is any difference."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import binomtest, linregress
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.seeding import generator_at
from mulligan.metrics.distances import frechet_distance
from mulligan.metrics.pairwise import checked_pair, tiles, tiles_above

COUNTS = 10  # subsets that FID is computed of
LEAST = 200  # samples in each set


def fid_infinity(real: Tensor, fake: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """FID extrapolated to infinitely many fakes, and its standard error (Chong and Forsyth 2020, arXiv 1911.07023).

    FID's bias is proportional to 1/n, so a line through the FIDs of random subsets, from a fifth of the fakes to all,
    is extrapolated to 1/n = 0. The bias by the number of reals stays. Needs 200 fakes; it is only a rough guess unless
    every subset has more than D of them.
    """
    _, y = checked_pair(real, fake, "FID-infinity", LEAST)
    generator = generator_at("fid infinity", seed)
    counts = np.linspace(len(y) / 5, len(y), COUNTS).astype(int)
    values = [frechet_distance(real, y[torch.randperm(len(y), generator=generator)[:n]]) for n in counts]
    line = linregress(1 / counts, values)
    return float(line.intercept), float(line.intercept_stderr)


def gaussian_distance(real: Tensor, fake: Tensor, *, sigma: float = 10.0) -> float:
    """MMD^2 under a Gaussian kernel, unbiased, times 1,000.

    Features are scaled to length 1 and `sigma` is 10: with CLIP's features it is CMMD (Jayasumana 2024, arXiv
    2401.09603).
    """
    x, y = checked_pair(real, fake, "the Gaussian kernel distance", 2)
    x, y = (each / each.norm(dim=1, keepdim=True).clamp(min=1e-12) for each in (x, y))

    def rest(a: Tensor, b: Tensor) -> float:  # kernel minus 1, so that small distances lose no digits
        return torch.expm1((2 - 2 * a @ b.T).clamp_(min=0).div_(-2 * sigma**2)).sum().item()

    def within(a: Tensor) -> float:  # 0 for a sample with itself
        parts = ((1 if diagonal else 2) * rest(a[rows], a[cols]) for rows, cols, diagonal in tiles_above(len(a)))
        return sum(parts) / (len(a) * (len(a) - 1))

    across = sum(rest(x[rows], y[cols]) for rows, cols in tiles(len(x), len(y))) / (len(x) * len(y))
    return 1000 * (within(x) + within(y) - 2 * across)


def two_sample_test(real: Tensor, fake: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """The accuracy of a classifier of real and fake, and its p-value under equal distributions.

    The two-sample test of Lopez-Paz and Oquab 2017 (arXiv 1610.06545) with a linear discriminant, fitted to half of
    each set and tested on the other half: 0.5 is chance. Needs 20 of each; of the larger set as many are used as the
    smaller one has.
    """
    x, y = checked_pair(real, fake, "the two-sample test", 20)
    count = min(len(x), len(y)) // 2 * 2
    generator = generator_at("told apart", seed)  # another name would draw other halves
    x, y = (each[torch.randperm(len(each), generator=generator)[:count]] for each in (x, y))
    (a, a_test), (b, b_test) = x.chunk(2), y.chunk(2)
    within = (torch.cov(a.T) + torch.cov(b.T)).reshape(a.shape[1], -1) / 2
    ridge = (within.trace() / len(within)).clamp(min=1e-12) * 0.05 * torch.eye(len(within)).to(within)
    direction = torch.linalg.solve(within + ridge, b.mean(0) - a.mean(0))
    middle = (a.mean(0) + b.mean(0)) / 2
    correct = ((b_test - middle) @ direction > 0).sum() + ((a_test - middle) @ direction <= 0).sum()
    return correct.item() / count, float(binomtest(int(correct), count, 0.5, alternative="greater").pvalue)


def inception_score(probabilities: Tensor, *, splits: int = 10) -> tuple[float, float]:
    """exp of the mean divergence of each sample's class probabilities (N, K) from their mean; and its deviation.

    Salimans 2016 (arXiv 1606.03498). Mean and standard deviation over `splits`; 1 is worst, K is best. It uses no real
    samples.
    """
    if len(probabilities) < splits:
        raise UserError(f"the Inception Score needs at least {splits} samples; there are {len(probabilities)}")
    scores = []
    for p in probabilities.double().chunk(splits):
        whole = p.mean(0)
        scores.append((torch.xlogy(p, p) - torch.xlogy(p, whole)).sum(1).mean().exp())
    spread, mean = torch.std_mean(torch.stack(scores), correction=0)
    return mean.item(), spread.item()
