"""What one sample of a data set is: a frozen value that belongs to the data, and converts to JSON and back.

No code infers from the rank of a tensor what it holds. Code that needs to know how samples are stored, displayed or
saved asks the `Sample` of the data. A run folder stores it, so that samples can be generated without the data.

Legend: N samples, C channels, `*space` the axes that `Sample.axes` names.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from mulligan.core import registry
from mulligan.core.errors import UserError
from mulligan.core.run import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

Writer = Callable[[Path, Tensor, Tensor | None], None]  # (where, records, class ids): writes samples in one format


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The base of every kind. A kind is a frozen dataclass of keyword-only JSON fields, registered in `registry.kinds`.

    *Records* are samples as data sets store them and files hold them, for example uint8 (N, C, H, W); networks see
    float (N, *shape), in [-1, 1] where the kind has a range.
    """

    kind: ClassVar[str]  # its name in the registry
    noun: ClassVar[str] = "samples"  # the plural noun for them: "images", "clips", "rows"
    axes: ClassVar[str] = ""  # names of the axes after the channels: "HW" of an image, "L" of a series, "THW" of a clip
    features: ClassVar[str] = "plain"  # the feature net for metrics, if the data name no other
    recipe: ClassVar[str] = "dense"  # the recipe that automatic choices start from
    stored: ClassVar[str] = "float32"  # the dtype of records
    on_sheet: ClassVar[int] = 64  # number of samples on a sheet during training

    shape: tuple[int, ...]  # (C, *space) of one sample, as networks see it

    def to_net(self, records: Tensor) -> Tensor:
        """Records (N, ...) -> float32 (N, *shape), on the same device."""
        return records.float()

    def to_records(self, samples: Tensor) -> Tensor:
        """Generated samples (N, *shape) -> records: the inverse of `to_net` on its range."""
        return samples.float()

    def sheet(self, records: Tensor, columns: int | None = None) -> Image:
        """Many records as one picture; with `columns` columns, if the kind arranges them in rows."""
        raise NotImplementedError

    def pictures(self, records: Tensor) -> Tensor | None:
        """uint8 (N, C, H, W) in which near copies of records are found; None: only exact copies count."""
        return None

    def as_array(self, records: Tensor) -> np.ndarray:
        """Records as they are stored in an .npz file."""
        return records.cpu().numpy()

    def formats(self) -> dict[str, tuple[str, Writer]]:
        """By suffix, "" for a folder: a short description of such a file, and the function that writes it."""
        return {".png": ("a sheet", self._write_sheet), ".npz": ("an array", self._write_arrays)}

    def save(self, out: Path, records: Tensor, labels: Tensor | None = None) -> None:
        """Write records (N, ...), and class ids (N,) if there are any, in the format of the suffix of `out`.

        Raises UserError, with the valid formats, for another suffix.
        """
        formats = self.formats()
        suffix = "" if out.is_dir() else out.suffix.lower()
        if suffix not in formats:
            valid = ", ".join(f"name{ending or '/'} ({what})" for ending, (what, _) in formats.items())
            raise UserError(f"{out}: {self.noun} are not written as {suffix or 'a folder'}; give {valid}")
        formats[suffix][1](out, records, labels)

    def _write_sheet(self, out: Path, records: Tensor, labels: Tensor | None) -> None:
        file = io.BytesIO()
        self.sheet(records).save(file, "PNG")
        write_whole(out, file.getvalue())

    def _write_arrays(self, out: Path, records: Tensor, labels: Tensor | None) -> None:
        arrays: dict[str, Any] = {self.noun: self.as_array(records)}
        if labels is not None:
            arrays["labels"] = labels.cpu().numpy().astype(np.int64)
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        write_whole(out, file.getvalue())

    def as_json(self) -> dict[str, Any]:
        """`{"name": kind, **fields}`: the inverse of `read_sample`."""
        return {"name": self.kind, **asdict(self), "shape": list(self.shape)}

    def __str__(self) -> str:
        """Its shape in readable form: `3x64x64`."""
        return "x".join(map(str, self.shape))


def read_sample(value: Mapping[str, Any]) -> Sample:
    """A sample from its JSON form. Raises UserError for an unknown kind, or for fields that the kind does not have."""
    fields = dict(value)
    name = fields.pop("name")
    return registry.kinds[name](**registry.kinds.bind(name, fields))


def refuse_other_kind(what: str, kinds: Collection[str], sample: Sample) -> None:
    """Raises UserError if `what`, a command or an option, is not for samples of this kind."""
    if sample.kind not in kinds:
        raise UserError(f"{what} {registry.other_kind(kinds, sample)}")
