"""Two sets of images that are not paired, such as photos and paintings."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import PositiveInt

from mulligan.core.errors import UserError
from mulligan.core.registry import readers
from mulligan.data.dataset import Dataset
from mulligan.data.images import Channels, Size
from mulligan.data.opening import Opening, open_data, reader_of
from mulligan.data.pairs import SIDES

FEWEST = 8  # images that each set must have
HOW = "mulligan train A B --task style, or one folder that holds a/ and b/"


@readers.register("unpaired", kinds={"image"})
def unpaired(
    spec: str | Path,
    opening: Opening,
    *,
    other: str | Path | None = None,  # the second data set; None: `spec` is a folder with a/ and b/
    size: Size = None,  # height and width of all images, in pixels; None: the most frequent size
    channels: Channels = None,  # of all images: 1, 3 or 4; None: as most images have
    max_bad: float = 0.10,  # share of files, 0 to 1, that may be unusable; they are skipped
    fit: PositiveInt | None = None,  # without `size`: the shorter side has at most this many pixels
) -> Dataset:
    """Two sets of images without pairs, for translation from one to the other."""
    given = {"size": size, "channels": channels}  # a reader without these options refuses them
    optional = {"max_bad": max_bad, "fit": fit}
    specs = two_sides(spec, other)
    both = []
    for side in specs:
        known = readers.defaults(reader_of(side))
        options = {name: value for name, value in given.items() if value is not None}
        options |= {name: value for name, value in optional.items() if name in known}
        both.append(open_data(side, cache=opening.cache, progress=opening.progress, **options))
    return joined(*both, specs)


def two_sides(spec: str | Path, other: str | Path | None) -> tuple[str | Path, str | Path]:
    """The data sets a and b to open. Raises UserError where only one is named, and it is no folder with a/ and b/."""
    if other is not None:
        return spec, other
    folders = [Path(spec) / side for side in SIDES]
    if not all(folder.is_dir() for folder in folders):
        raise UserError(f"{spec}: is one data set, and --task style needs two: {HOW}")
    return folders[0], folders[1]


def joined(a: Dataset, b: Dataset, specs: Sequence[str | Path]) -> Dataset:
    """Both sets as one data set. Raises UserError where they do not fit together."""
    for side, spec in zip((a, b), specs, strict=True):
        if side.sample.kind != "image":
            raise UserError(f"{spec}: --task style is for two sets of images, and these are {side.sample.noun}")
        if side.count < FEWEST:
            raise UserError(f"{spec}: holds {side.count} images; --task style needs at least {FEWEST} in each set")
    if a.shape != b.shape:
        raise UserError(
            f"{specs[0]}: its images are {a.sample} (channels x height x width), those of {specs[1]} {b.sample}; "
            "bring both to the same with --size and --channels"
        )
    if a.fingerprint == b.fingerprint:
        raise UserError(
            f"{specs[0]} and {specs[1]}: hold the same images; --task style needs two different sets: {HOW}"
        )
    both = (("A", a), ("B", b))
    unusable = [[f"of {what}: {name}", why] for what, side in both for name, why in side.checkup.unreadable]
    plan = [f"of {what}: {sentence}" for what, side in both for sentence in side.checkup.plan]
    files = a.checkup.files + b.checkup.files
    return dataclasses.replace(
        b,
        name=f"{a.name} to {b.name}",
        classes=[],
        labels=None,
        fingerprint=hashlib.blake2b(f"{a.fingerprint} {b.fingerprint}".encode(), digest_size=16).hexdigest(),
        checkup=dataclasses.replace(b.checkup, files=files, unreadable=unusable, classes={}, plan=plan),
        sides=(a, b),
    )
