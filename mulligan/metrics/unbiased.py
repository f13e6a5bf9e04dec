"""Distances that do not fall just because more images are taken, and a test of whether there is any."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import binomtest, linregress
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.seeding import generator_at
from mulligan.metrics.distances import frechet_distance
from mulligan.metrics.pairs import checked_pair, tiles, tiles_above

COUNTS = 10  # subsets that FID is taken of
LEAST = 200  # images a side


def fid_infinity(real: Tensor, fake: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """FID as it would be of endlessly many fakes, and its standard error (Chong and Forsyth 2020, arXiv 1911.07023).

    FID's bias goes as 1/n, so a line through FIDs of random subsets, from a fifth of the fakes to all, is followed to
    1/n = 0. The bias by the count of reals stays. Needs 200 fakes, and as many as give every subset more than D for
    the line to be one: with fewer it is a rough guess.
    """
    _, y = checked_pair(real, fake, "FID-infinity", LEAST)
    generator = generator_at("fid infinity", seed)
    counts = np.linspace(len(y) / 5, len(y), COUNTS).astype(int)
    values = [frechet_distance(real, y[torch.randperm(len(y), generator=generator)[:n]]) for n in counts]
    line = linregress(1 / counts, values)
    return float(line.intercept), float(line.intercept_stderr)


def gaussian_distance(real: Tensor, fake: Tensor, *, sigma: float = 10.0) -> float:
    """MMD^2 under a Gaussian kernel, unbiased, times 1,000.

    Features are brought to length 1 and `sigma` is 10: of CLIP's this is CMMD (Jayasumana 2024, arXiv 2401.09603).
    """
    x, y = checked_pair(real, fake, "the Gaussian kernel distance", 2)
    x, y = (side / side.norm(dim=1, keepdim=True).clamp(min=1e-12) for side in (x, y))

    def rest(a: Tensor, b: Tensor) -> float:  # kernel minus 1, in which small distances keep their digits
        return torch.expm1((2 - 2 * a @ b.T).clamp_(min=0).div_(-2 * sigma**2)).sum().item()

    def within(a: Tensor) -> float:  # of each with itself it is 0
        parts = ((1 if diagonal else 2) * rest(a[rows], a[cols]) for rows, cols, diagonal in tiles_above(len(a)))
        return sum(parts) / (len(a) * (len(a) - 1))

    across = sum(rest(x[rows], y[cols]) for rows, cols in tiles(len(x), len(y))) / (len(x) * len(y))
    return 1000 * (within(x) + within(y) - 2 * across)


def told_apart(real: Tensor, fake: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """How often a classifier tells fakes from reals, and the chance of that were they alike.

    The two-sample test of Lopez-Paz and Oquab 2017 (arXiv 1610.06545) with a linear discriminant, learnt from half of
    each side and tested on the other: a half is what guessing comes to. Needs 20 of each; of more of one side as many
    are taken as of the other.
    """
    x, y = checked_pair(real, fake, "telling apart", 20)
    count = min(len(x), len(y)) // 2 * 2
    generator = generator_at("told apart", seed)
    x, y = (side[torch.randperm(len(side), generator=generator)[:count]] for side in (x, y))
    (a, a_test), (b, b_test) = x.chunk(2), y.chunk(2)
    within = (torch.cov(a.T) + torch.cov(b.T)).reshape(a.shape[1], -1) / 2
    ridge = (within.trace() / len(within)).clamp(min=1e-12) * 0.05 * torch.eye(len(within)).to(within)
    direction = torch.linalg.solve(within + ridge, b.mean(0) - a.mean(0))
    middle = (a.mean(0) + b.mean(0)) / 2
    right = ((b_test - middle) @ direction > 0).sum() + ((a_test - middle) @ direction <= 0).sum()
    return right.item() / count, float(binomtest(int(right), count, 0.5, alternative="greater").pvalue)


def inception_score(probabilities: Tensor, *, splits: int = 10) -> tuple[float, float]:
    """exp of the mean divergence of each image's classes (N, K) from all images', and its deviation over splits.

    Salimans 2016 (arXiv 1606.03498); 1 at worst, K at best. It asks nothing of real images.
    """
    if len(probabilities) < splits:
        raise UserError(f"the Inception Score needs at least {splits} images; there are {len(probabilities)}")
    scores = []
    for p in probabilities.double().chunk(splits):
        whole = p.mean(0)
        scores.append((torch.xlogy(p, p) - torch.xlogy(p, whole)).sum(1).mean().exp())
    spread, mean = torch.std_mean(torch.stack(scores), correction=0)
    return mean.item(), spread.item()
