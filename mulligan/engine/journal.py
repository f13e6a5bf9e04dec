"""What a run says of itself: rows of `stats.jsonl`, averaged, and whoever else wants to hear them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mulligan.core.run import RunFolder
from mulligan.engine.loop import State
from mulligan.engine.turn import Report


class Averages:
    """Means of per-sample numbers since they were last taken. Sums stay on the device, so adding never waits for it."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, report: Report) -> None:
        for name, values in report.items():
            total = values.sum(dtype=torch.float32)
            self._sums[name] = self._sums[name] + total if name in self._sums else total
            self._counts[name] += len(values)

    def take(self) -> dict[str, float]:
        means = {name: total.item() / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means


class Journal:
    """Writes rows with their position in the run. Non-finite numbers are written as "nan", "inf", "-inf"."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def write(self, kind: str, state: State, row: Mapping[str, Any]) -> dict[str, Any]:
        where = {"kind": kind, "step": state.step, "images": state.images, "seconds": round(state.seconds, 3)}
        entry = where | {name: _written(value) for name, value in row.items()}
        self.run.append(entry)
        return entry


def _written(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value


def non_finite(row: Mapping[str, float]) -> str | None:
    """Names the numbers that are no longer numbers, in plain words; None while all is well."""
    bad = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
    if not bad:
        return None
    return f"{', '.join(bad)} became infinite or not a number: the game has diverged; a lower learning rate may help"
