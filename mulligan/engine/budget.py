"""How long to play: budgets in images, the places to stop and look, and when more would not help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mulligan.core.recipe import Budget

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
    """Image counts at which to draw samples and measure: at growing intervals at first, then evenly, the end included."""
    early = [budget // 2**k for k in (9, 8, 7, 6, 5)]
    even = [budget * k // LOOKS for k in range(1, LOOKS + 1)]
    return sorted({at for at in early + even if at > 0})


def best_of(history: Sequence[Mapping[str, Any]], tracked: str) -> Mapping[str, Any] | None:
    """The row with the smallest tracked metric; None before the first finite one."""
    rows = [row for row in history if math.isfinite(float(row[tracked]))]
    return min(rows, key=lambda row: row[tracked], default=None)


def converged(history: Sequence[Mapping[str, Any]], tracked: str, patience: int = 5) -> str | None:
    """Says so when the last `patience` rows are no better than what came before by more than the metric's own noise.

    `tracked` is better when smaller; its standard error stands beside it as `<tracked>_se`.
    """
    if len(history) <= 2 * patience:
        return None
    before, lately = best_of(history[:-patience], tracked), best_of(history[-patience:], tracked)
    if before is None or lately is None:
        return None
    noise = math.hypot(before[f"{tracked}_se"], lately[f"{tracked}_se"])
    if lately[tracked] >= before[tracked] - noise:
        return (
            f"converged: {tracked} was {before[tracked]:.4g} after {before['images']:,} images and in the last "
            f"{patience} looks no better than {lately[tracked]:.4g}, a difference within its noise of {noise:.2g}"
        )
    return None
