"""How far a number would move with other samples, and whether two models differ: intervals of 95 %."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.metrics.distances import frechet_distance, in_balls, kernel_distance

Z = 1.959964  # standard normal, 97.5 %
GROUPS = 10  # of the jackknife
SHARES = ("precision", "recall", "coverage")


class Estimate(NamedTuple):
    """A number and its interval."""

    value: float
    low: float
    high: float


def estimates(real: Tensor, fake: Tensor, *, k: int = 5) -> dict[str, Estimate]:
    """Each of `distances.METRICS` of features (N, D), with how far other samples of the same kind would move it.

    FID: jackknife; KID: its standard error. Precision and density hold the reals for given, recall and coverage the
    fakes: their samples are then independent, and the interval is Wilson's for a share, the normal one for density.
    Bias, which FID has much of, is in no interval. FID needs twice `GROUPS` images on each side.
    """
    kid, error = kernel_distance(real, fake)
    found = {"fid": _jackknifed(real, fake), "kid": Estimate(kid, kid - Z * error, kid + Z * error)}
    for name, each in in_balls(real, fake, k=k).items():
        found[name] = wilson(each) if name in SHARES else _of_mean(each)
    return found


def differences(real: Tensor, ours: Tensor, theirs: Tensor, *, k: int = 5) -> dict[str, Estimate]:
    """By how much each number of `ours` is above that of `theirs`, against the same reals.

    Coverage is paired real by real, FID by leaving out the same reals. The others take both errors as if they were
    independent, which is on the safe side: recall too, since it depends on each set of fakes by their balls.
    """
    one, other = kernel_distance(real, ours), kernel_distance(real, theirs)
    error = math.hypot(one[1], other[1])
    value = one[0] - other[0]
    found = {
        "fid": _jackknifed(real, ours, theirs),
        "kid": Estimate(value, value - Z * error, value + Z * error),
    }
    shares = in_balls(real, ours, k=k), in_balls(real, theirs, k=k)
    found["coverage"] = _of_mean(shares[0]["coverage"] - shares[1]["coverage"])
    for name in ("precision", "recall", "density"):
        a, b = (_of_mean(each[name]) for each in shares)
        reach, value = math.hypot(a.high - a.value, b.high - b.value), a.value - b.value
        found[name] = Estimate(value, value - reach, value + reach)
    return found


def wilson(right: Tensor) -> Estimate:
    """The share of ones in (N,), and Wilson's interval (1927): within [0, 1], and no point at its ends."""
    n, share = len(right), right.double().mean().item()
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n * n))
    return Estimate(share, max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach)))


def _of_mean(values: Tensor) -> Estimate:
    mean, reach = values.mean().item(), Z * values.std().item() / math.sqrt(len(values))
    return Estimate(mean, mean - reach, mean + reach)


def _jackknifed(real: Tensor, ours: Tensor, theirs: Tensor | None = None) -> Estimate:
    """FID, or the difference of two, and its spread when a tenth of each side is left out in turn (Efron 1982)."""
    least = 2 * GROUPS
    for name, side in (("real", real), ("fake", ours), ("fake", theirs)):
        if side is not None and len(side) < least:
            raise UserError(f"an interval for FID needs at least {least} images; {name} has {len(side)}")

    def fid(sides: Sequence[Tensor | None]) -> float:
        x, one, other = sides
        assert x is not None and one is not None
        return frechet_distance(x, one) - (0.0 if other is None else frechet_distance(x, other))

    sides = (real, ours, theirs)
    left = [fid([None if side is None else _without(side, group) for side in sides]) for group in range(GROUPS)]
    reach = Z * math.sqrt((GROUPS - 1) * torch.tensor(left, dtype=torch.float64).var(correction=0).item())
    value = fid(sides)
    return Estimate(value, value - reach, value + reach)


def _without(side: Tensor, group: int) -> Tensor:
    return side[torch.arange(len(side)) % GROUPS != group]
