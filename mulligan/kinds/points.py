"""Points in a plane: float32 (N, 2), both as records and for networks; saved as plots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from PIL import Image
from torch import Tensor

from mulligan.core.registry import kinds
from mulligan.core.sample import Sample
from mulligan.kinds.pictures import plot


@kinds.register("points")
@dataclass(frozen=True, kw_only=True)
class PointSample(Sample):
    """Two coordinates, usually in [-1, 1]."""

    kind: ClassVar[str] = "points"
    noun: ClassVar[str] = "points"
    recipe: ClassVar[str] = "points"
    on_sheet: ClassVar[int] = 2_048

    shape: tuple[int] = (2,)

    def sheet(self, records: Tensor, columns: int | None = None) -> Image.Image:
        """A plot, darker where many points lie."""
        return plot(records)
