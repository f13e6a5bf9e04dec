"""How much one training set improves a classifier over another, with an interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95


class Gain(NamedTuple):
    """Of accuracy, in percentage points, with its interval."""

    points: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        return "helps" if self.low > 0 else "harms" if self.high < 0 else "no significant difference"


def gain(ours: np.ndarray, theirs: np.ndarray, comparisons: int = 1) -> Gain:
    """Between two (seeds, images) arrays of right (1) and wrong (0), paired by seed and by image; at least two seeds.

    Seeds and images are crossed random factors. So the variance of the mean is the sum of the variances of the means by
    seed and by image (slightly too large: both contain the noise of single cells). The interval uses Student's t with
    seeds - 1 degrees of freedom. For several `comparisons` the level is Bonferroni's, because the best of many is
    overestimated.
    """
    difference = 100 * (ours.astype(np.float64) - theirs)
    seeds, images = difference.shape
    variance = difference.mean(1).var(ddof=1) / seeds + difference.mean(0).var(ddof=1) / images
    reach = float(student.ppf(1 - (1 - LEVEL) / 2 / comparisons, seeds - 1)) * math.sqrt(variance)
    points = float(difference.mean())
    return Gain(points, points - reach, points + reach)
