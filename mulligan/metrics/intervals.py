"""How far a number would move with other samples, and whether two models differ: intervals of 95 %."""

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
    """Each of `distances.METRICS` of features (N, D), with how far other images of both kinds would move it.

    KID by its standard error, all else by a jackknife that leaves a tenth of both sides out in turn. Shares by balls
    change in jumps, so that theirs are rather too wide than too narrow: of repeated draws they hold 95 to 100 %. Bias,
    which FID has much of, is in no interval. Needs twice `GROUPS` images a side.
    """
    found = _jackknifed(lambda x, y: _numbers(x, y, k), real, fake)
    shares = {name: _as_share(found[name], min(len(real), len(fake))) for name in SHARES}
    kid, error = kernel_distance(real, fake)
    return {"fid": found.pop("fid"), "kid": Estimate(kid, kid - Z * error, kid + Z * error), **found, **shares}


def differences(real: Tensor, ours: Tensor, theirs: Tensor, *, k: int = 5) -> dict[str, Estimate]:
    """By how much each number of `ours` is above that of `theirs`, against the same reals.

    By the same jackknife, in which both are measured without the same reals; KID takes both errors as if they were
    independent, which is on the safe side.
    """

    def apart(x: Tensor, one: Tensor, other: Tensor) -> dict[str, float]:
        a, b = _numbers(x, one, k), _numbers(x, other, k)
        return {name: a[name] - b[name] for name in a}

    (one, error), (other, its) = kernel_distance(real, ours), kernel_distance(real, theirs)
    reach = Z * math.hypot(error, its)
    kid = Estimate(one - other, one - other - reach, one - other + reach)
    found = _jackknifed(apart, real, ours, theirs)
    return {"fid": found.pop("fid"), "kid": kid, **found}


def _numbers(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    return {"fid": frechet_distance(real, fake), **precision_recall_density_coverage(real, fake, k=k)}


def _jackknifed(statistic: Callable[..., dict[str, float]], *sides: Tensor) -> dict[str, Estimate]:
    """Each number, and its spread when a tenth of each side is left out in turn (Efron 1982)."""
    for name, side in zip(("real", "fake", "fake"), sides, strict=False):
        if len(side) < 2 * GROUPS:
            raise UserError(f"an interval needs at least {2 * GROUPS} images; {name} has {len(side)}")
    values = statistic(*sides)
    left = [statistic(*(_without(side, group) for side in sides)) for group in range(GROUPS)]
    found = {}
    for name, value in values.items():
        moved = torch.tensor([each[name] for each in left], dtype=torch.float64)
        reach = T * math.sqrt((GROUPS - 1) * moved.var(correction=0).item())
        found[name] = Estimate(value, value - reach, value + reach)
    return found


def _without(side: Tensor, group: int) -> Tensor:
    return side[torch.arange(len(side)) % GROUPS != group]


def _as_share(each: Estimate, count: int) -> Estimate:
    """Within [0, 1], and at its ends no point, as nothing moves there: at least as wide as Wilson's interval."""
    least = wilson(each.value, count)
    return Estimate(each.value, max(0.0, min(each.low, least.low)), min(1.0, max(each.high, least.high)))


def wilson(share: float, count: int) -> Estimate:
    """The interval of a share of `count` (Wilson 1927): within [0, 1], and no point at its ends."""
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    reach = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count * count))
    return Estimate(share, max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach)))
