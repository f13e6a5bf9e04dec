"""Two sets of images, of which no image goes with any of the other: photos here, paintings there."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.data.dataset import ImageData
from mulligan.data.pairs import SIDES

FEWEST = 8  # images of a side to learn from
HOW = "mulligan train A B --task style, or one folder that holds a/ and b/"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class UnpairedData(ImageData):
    """Images (N, C, H, W) of b by index, as `ImageData`; those of a are `partners`, by indices of their own."""

    a: ImageData
    b: ImageData

    @property
    def features(self) -> str:
        return self.b.features

    def partners(self, indices: np.ndarray | Sequence[int]) -> Tensor:
        """uint8 (B, C, H, W) of a: a copy, yours to change."""
        return self.a.images(indices)


def two_sides(spec: str | Path, other: str | Path | None) -> tuple[str | Path, str | Path]:
    """What to open as a and as b. Raises UserError where only one is named and it does not hold both."""
    if other is not None:
        return spec, other
    folders = [Path(spec) / side for side in SIDES]
    if not all(folder.is_dir() for folder in folders):
        raise UserError(f"{spec}: is one data set, and --task style goes from one to another: {HOW}")
    return folders[0], folders[1]


def joined(a: object, b: object, specs: Sequence[str | Path]) -> UnpairedData:
    """Both as one. Raises UserError, in one line, where they cannot be."""
    for side, spec in zip((a, b), specs, strict=True):
        if not isinstance(side, ImageData):
            raise UserError(f"{spec}: --task style goes between two sets of pictures, and this is none")
        if side.count < FEWEST:
            raise UserError(f"{spec}: holds {side.count} images; --task style needs at least {FEWEST} of each kind")
    assert isinstance(a, ImageData) and isinstance(b, ImageData)
    if a.shape != b.shape:
        ours, theirs = ("x".join(map(str, side.shape)) for side in (a, b))
        raise UserError(
            f"{specs[0]}: its images are {ours} (channels x height x width), those of {specs[1]} {theirs}; "
            "bring both to one with --size and --channels"
        )
    if a.fingerprint == b.fingerprint:
        raise UserError(f"{specs[0]} and {specs[1]}: are the same images; --task style needs two kinds: {HOW}")
    fields = {field.name: getattr(b, field.name) for field in dataclasses.fields(ImageData)}
    both = (("A", a), ("B", b))
    unusable = [[f"of {what}: {name}", why] for what, side in both for name, why in side.checkup.unreadable]
    plan = [f"of {what}: {sentence}" for what, side in both for sentence in side.checkup.plan]
    files = a.checkup.files + b.checkup.files
    return UnpairedData(
        **fields
        | {
            "name": f"{a.name} to {b.name}",
            "classes": [],
            "labels": None,
            "fingerprint": hashlib.blake2b(f"{a.fingerprint} {b.fingerprint}".encode(), digest_size=16).hexdigest(),
            "checkup": dataclasses.replace(b.checkup, files=files, unreadable=unusable, classes={}, plan=plan),
        },
        a=a,
        b=b,
    )
