"""What a run says of itself: averaged rows of `stats.jsonl`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mulligan.core.run import RunFolder
from mulligan.engine.loop import State
from mulligan.engine.turn import Report


class Averages:
    """Means of per-sample numbers since they were last taken. Sums stay on the device, so adding never waits for it."""

    def __init__(self, saved: Mapping[str, Sequence[Any]] | None = None) -> None:
        """`saved` is what `saved()` returned when a run was stopped in the middle of a row."""
        self._sums: dict[str, Tensor] = {name: torch.tensor(float(total)) for name, (total, _) in (saved or {}).items()}
        self._counts: dict[str, int] = defaultdict(
            int, {name: int(count) for name, (_, count) in (saved or {}).items()}
        )

    def add(self, report: Report) -> None:
        for name, values in report.items():
            total = values.sum(dtype=torch.float32)
            self._sums[name] = self._sums[name].to(total.device) + total if name in self._sums else total
            self._counts[name] += len(values)

    def saved(self) -> dict[str, list[Any]]:
        """What JSON can hold of them exactly, so that a resumed run writes the same rows."""
        return {name: [exact(total.item()), self._counts[name]] for name, total in self._sums.items()}

    def take(self) -> dict[str, float]:
        """The means, but of numbers that no step had, such as the gradients of a row of skipped steps."""
        means = {name: total.item() / self._counts[name] for name, total in self._sums.items() if self._counts[name]}
        self._sums.clear()
        self._counts.clear()
        return means


class Journal:
    """Writes rows with their position in the run. Non-finite numbers are written as "nan", "inf", "-inf"."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def write(self, kind: str, state: State, row: Mapping[str, Any]) -> dict[str, Any]:
        position = {"kind": kind, "attempt": state.attempt, "step": state.step, "samples": state.samples}
        position |= {"lost": state.lost, "seconds": round(state.seconds, 3)}
        entry = position | {name: _written(value) for name, value in row.items()}
        self.run.append(entry)
        return entry


def exact(value: float) -> float | str:
    """A number as JSON can hold it: in words if it is not finite."""
    return value if math.isfinite(value) else str(value)


def _written(value: Any) -> Any:
    if isinstance(value, float):
        return exact(float(f"{value:.6g}"))
    return value
