"""How long to play: budgets in images, the places to stop and look, and when more would not help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mulligan.core.recipe import Budget

BARREN = 0.1  # of what samples covered at most: who covers less is not believed to be near
LOOKS = 16  # evenly spaced milestones; a few early ones come before them


def images_in(budget: Budget, count: int, rate: float | None, fixed: float, per_look: float) -> int:
    """The smallest of a budget's limits, in images.

    `count` images are an epoch. For minutes, `rate` is images per second of pure training, `fixed` the seconds spent
    before and after it, `per_look` the seconds of one milestone.
    """
    limits: list[float] = []
    if budget.images is not None:
        limits.append(budget.images)
    if budget.epochs is not None:
        limits.append(math.ceil(budget.epochs * count))
    if budget.minutes is not None:
        assert rate is not None
        left = budget.minutes * 60 - fixed - per_look * len(milestones(1 << 20))
        limits.append(max(1.0, left) * rate)
    assert limits, "a recipe's budget names at least one limit"
    return max(1, int(min(limits)))


def milestones(budget: int) -> list[int]:
    """Image counts at which to draw samples and measure: at growing intervals, then evenly, the end included."""
    early = [budget // 2**k for k in (9, 8, 7, 6, 5)]
    even = [budget * k // LOOKS for k in range(1, LOOKS + 1)]
    return sorted({at for at in early + even if at > 0})


def believable(history: Sequence[Mapping[str, Any]], tracked: str) -> list[Mapping[str, Any]]:
    """Rows by whose metric others may be judged: finite, and of samples that cover anything where those of others do.

    A distance can be fooled: by one of stacked digits, noise after 512 images was nearer than digits after 30,000.
    """
    finite = [row for row in history if math.isfinite(row[tracked])]
    most = max((row.get("coverage", 0.0) for row in finite), default=0.0)
    return [row for row in finite if row.get("coverage", 0.0) >= BARREN * most]


def best_of(history: Sequence[Mapping[str, Any]], tracked: str) -> Mapping[str, Any] | None:
    """The last row that was not worse, beyond the metric's noise, than any before it; None before the first finite one.

    `tracked` is better when smaller; its standard error stands beside it as `<tracked>_se`. Among rows that noise alone
    tells apart, the one that has seen most is the best guess.
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
    """Says so when the last `patience` rows are no better than what came before by more than the metric's own noise."""
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
        f"converged: {tracked} was {before[tracked]:.4g} after {before['images']:,} images and in the last "
        f"{patience} looks no better than {lately[tracked]:.4g}, a difference within its noise of {noise:.2g}"
    )
