"""Intervals of 95 %: how much a number would change with other samples, and whether two models differ."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy.stats import t as student
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.metrics.distances import frechet_distance, kernel_distance, precision_recall_density_coverage

Z = 1.959964  # standard normal, 97.5 %
GROUPS = 10  # of the jackknife
T = float(student.ppf(0.975, GROUPS - 1))
SHARES = ("precision", "recall", "coverage")


class Estimate(NamedTuple):
    """A number and its interval."""

    value: float
    low: float
    high: float


def estimates(real: Tensor, fake: Tensor, *, k: int = 5) -> dict[str, Estimate]:
    """Each of `distances.METRICS` of features (N, D), with an interval for other real and generated samples.

    KID uses its standard error, all others a jackknife that leaves out a tenth of both sets in turn. Precision, recall
    and coverage change in steps, so their intervals are rather too wide: they contain 95 to 100 % of repeated draws.
    No interval includes bias, which is large for FID. Needs twice `GROUPS` samples in each set.
    """
    found = _jackknifed(lambda x, y: _numbers(x, y, k), real, fake)
    shares = {name: _as_share(found[name], min(len(real), len(fake))) for name in SHARES}
    kid, error = kernel_distance(real, fake)
    return {"fid": found.pop("fid"), "kid": Estimate(kid, kid - Z * error, kid + Z * error), **found, **shares}


def differences(real: Tensor, ours: Tensor, theirs: Tensor, *, k: int = 5) -> dict[str, Estimate]:
    """Each number of `ours` minus that of `theirs`, against the same real samples.

    The same jackknife leaves the same reals out for both. KID combines both errors as if they were independent, which
    makes the interval too wide rather than too narrow.
    """

    def difference(x: Tensor, one: Tensor, other: Tensor) -> dict[str, float]:
        a, b = _numbers(x, one, k), _numbers(x, other, k)
        return {name: a[name] - b[name] for name in a}

    (one, error), (other, other_error) = kernel_distance(real, ours), kernel_distance(real, theirs)
    reach = Z * math.hypot(error, other_error)
    kid = Estimate(one - other, one - other - reach, one - other + reach)
    found = _jackknifed(difference, real, ours, theirs)
    return {"fid": found.pop("fid"), "kid": kid, **found}


def _numbers(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    return {"fid": frechet_distance(real, fake), **precision_recall_density_coverage(real, fake, k=k)}


def _jackknifed(statistic: Callable[..., dict[str, float]], *sets: Tensor) -> dict[str, Estimate]:
    """Each number, and its spread when a tenth of each set is left out in turn (Efron 1982)."""
    for name, each in zip(("real", "fake", "fake"), sets, strict=False):
        if len(each) < 2 * GROUPS:
            raise UserError(f"an interval needs at least {2 * GROUPS} samples; {name} has {len(each)}")
    values = statistic(*sets)
    replicates = [statistic(*(_without(each, group) for each in sets)) for group in range(GROUPS)]
    found = {}
    for name, value in values.items():
        numbers = torch.tensor([each[name] for each in replicates], dtype=torch.float64)
        reach = T * math.sqrt((GROUPS - 1) * numbers.var(correction=0).item())
        found[name] = Estimate(value, value - reach, value + reach)
    return found


def _without(features: Tensor, group: int) -> Tensor:
    return features[torch.arange(len(features)) % GROUPS != group]


def _as_share(each: Estimate, count: int) -> Estimate:
    """Within [0, 1] and at least as wide as Wilson's interval: at 0 and 1 the jackknife alone would have width 0."""
    narrowest = wilson(each.value, count)
    return Estimate(each.value, max(0.0, min(each.low, narrowest.low)), min(1.0, max(each.high, narrowest.high)))


def wilson(share: float, count: int) -> Estimate:
    """The interval of a share of `count` (Wilson 1927): within [0, 1], and of a width above 0 also for 0 and 1."""
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    reach = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count * count))
    return Estimate(share, max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach)))
