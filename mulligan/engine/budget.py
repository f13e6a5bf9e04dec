"""How long to train: budgets in samples, when to evaluate, and when more training would not help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mulligan.core.recipe import Budget

BELIEVABLE = 0.1  # of the best coverage of a run: a metric of samples that cover less is not believed
EVALUATIONS = 16  # evenly spaced ones of a run; a few early ones come before them


def samples_in(budget: Budget, count: int, rate: float | None, fixed: float, per_evaluation: float) -> int:
    """The smallest of a budget's limits, in samples.

    `count` samples are an epoch. For minutes, `rate` is samples per second of pure training, `fixed` the seconds spent
    before and after it, `per_evaluation` the seconds of one evaluation.
    """
    limits: list[float] = []
    if budget.samples is not None:
        limits.append(budget.samples)
    if budget.epochs is not None:
        limits.append(math.ceil(budget.epochs * count))
    if budget.minutes is not None:
        assert rate is not None
        left = budget.minutes * 60 - fixed - per_evaluation * len(evaluation_points(1 << 20))
        limits.append(max(1.0, left) * rate)
    assert limits, "a recipe's budget names at least one limit"
    return max(1, int(min(limits)))


def evaluation_points(budget: int) -> list[int]:
    """After how many samples to evaluate: at growing intervals, then evenly, the end included."""
    early = [budget // 2**k for k in (9, 8, 7, 6, 5)]
    even = [budget * k // EVALUATIONS for k in range(1, EVALUATIONS + 1)]
    return sorted({at for at in early + even if at > 0})


def believable(history: Sequence[Mapping[str, Any]], tracked: str) -> list[Mapping[str, Any]]:
    """Rows whose metric is finite, and whose samples cover something where those of other rows do.

    A distance can be fooled: in a run of stacked digits, noise after 512 samples was nearer than digits after 30,000.
    """
    finite = [row for row in history if math.isfinite(float(row[tracked]))]  # "nan" where it was read from a file
    most = max((row.get("coverage", 0.0) for row in finite), default=0.0)
    return [row for row in finite if row.get("coverage", 0.0) >= BELIEVABLE * most]


def best_of(history: Sequence[Mapping[str, Any]], tracked: str) -> Mapping[str, Any] | None:
    """The last row that was not worse, beyond the metric's noise, than any before it; None before the first finite one.

    `tracked` is better when smaller; its standard error is in the same row as `<tracked>_se`. Among rows whose
    difference is within the noise, the one after most samples is the best guess.
    """
    lowest = best = None
    for row in believable(history, tracked):
        if lowest is None or row[tracked] <= lowest[tracked] + _noise(row, lowest, tracked):
            best = row
        if lowest is None or row[tracked] < lowest[tracked]:
            lowest = row
    return best


def _noise(a: Mapping[str, Any], b: Mapping[str, Any], tracked: str) -> float:
    """Standard error of the difference of two rows."""
    return math.hypot(a[f"{tracked}_se"], b[f"{tracked}_se"])


def converged(history: Sequence[Mapping[str, Any]], tracked: str, patience: int = 5) -> str | None:
    """A sentence, when the last `patience` rows are no better than those before by more than the metric's own noise."""
    if len(history) <= 2 * patience:
        return None
    before, lately = (
        min(believable(rows, tracked), key=lambda row: row[tracked], default=None)
        for rows in (history[:-patience], history[-patience:])
    )
    if before is None or lately is None:
        return None
    noise = _noise(before, lately, tracked)
    if lately[tracked] < before[tracked] - noise:
        return None
    return (
        f"converged: {tracked} was {before[tracked]:.4g} after {before['samples']:,} samples and in the last "
        f"{patience} evaluations no better than {lately[tracked]:.4g}, a difference within its noise of {noise:.2g}"
    )
