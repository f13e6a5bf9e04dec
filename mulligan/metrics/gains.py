"""What one way of training is worth against another, and how sure that is."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95


class Gain(NamedTuple):
    """Of accuracy, in points of a hundred, with its interval."""

    points: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        return "helps" if self.low > 0 else "harms" if self.high < 0 else "no difference that could be told"


def gain(ours: np.ndarray, theirs: np.ndarray, comparisons: int = 1) -> Gain:
    """Of two (seeds, images) arrays of right (1) and wrong (0), paired by seed and by image; at least two seeds.

    Seeds and images are both samples, crossed with one another, so the variance of the mean is the sum of what the
    means by seed and the means by image spread by (a little too much: the noise of single cells is in both). Student's
    t, seeds - 1 degrees of freedom; of several `comparisons` Bonferroni's level, since the best of many looks better
    than it is.
    """
    difference = 100 * (ours.astype(np.float64) - theirs)
    seeds, images = difference.shape
    variance = difference.mean(1).var(ddof=1) / seeds + difference.mean(0).var(ddof=1) / images
    reach = float(student.ppf(1 - (1 - LEVEL) / 2 / comparisons, seeds - 1)) * math.sqrt(variance)
    points = float(difference.mean())
    return Gain(points, points - reach, points + reach)
