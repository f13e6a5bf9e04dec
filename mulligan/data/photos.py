"""Photos as people bring them: files and folders of any size and kind, and masks that go with them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.data.decode import read_whole, reason
from mulligan.data.files import list_folder, printable
from mulligan.kinds.pictures import NEUTRAL


class Photo(NamedTuple):
    """A file, and where what comes of it goes."""

    path: Path
    inside: Path  # where it lies in the folder that was named
    target: Path  # without what tells several results apart, and without .png

    def files(self, samples: int) -> list[Path]:
        """The results."""
        ends = [f"-{k + 1}.png" for k in range(samples)] if samples > 1 else [".png"]
        return [self.target.with_name(self.target.name + end) for end in ends]

    @property
    def name(self) -> str:
        return printable(str(self.path))


class Photos:
    """What is read, and where what comes of it is written: never over what is read, nor two results over each other.

    What lies in `out` already, where that is inside a folder of photos, is none of them. Raises UserError where there
    are none at all, or `out` can be no folder of results. `own` are files in `out` that are no one photo's result.
    """

    def __init__(
        self, named: Sequence[str | Path], out: str | Path, mask: str | Path | None = None, own: Sequence[str] = ()
    ) -> None:
        out, mask = Path(out), None if mask is None else Path(mask)
        there = next(each for each in (out, *out.parents) if os.path.lexists(each))
        if not there.is_dir():
            raise UserError(f"{there}: is a file; --out takes a folder")
        self.mask = mask
        self.failed: list[tuple[str, str]] = []  # what need not be opened, and why
        inputs: list[tuple[Path, Path]] = []
        kept: list[Path] = []
        for path in map(Path, named):
            if not path.is_dir():
                inputs.append((path, Path(path.name)))
                continue
            if path.resolve() == out.resolve():
                raise UserError(f"{out}: is the folder of the photos; choose another --out")
            listing, mine = list_folder(path), out.resolve()
            theirs = path.resolve()
            inside = sorted(Path(entry.where) for entry in listing.entries)
            inputs += [(path / each, each) for each in inside if not (theirs / each).is_relative_to(mine)]
            bad = [(path / name, why) for name, why in listing.bad if not (theirs / name).is_relative_to(mine)]
            self.failed += [(printable(str(each)), why) for each, why in bad]
            kept += [each for each, _ in bad]
        if not inputs and not self.failed:
            raise UserError(f"{', '.join(map(str, named))}: no photos in it")
        self.masks: dict[Path, Path] = {}  # of a folder, by where each lies in it, without its suffix
        if mask is not None and mask.is_dir():
            for where in sorted(Path(entry.where) for entry in list_folder(mask).entries):
                self.masks.setdefault(where.with_suffix(""), mask / where)
                kept.append(mask / where)
        elif mask is not None:
            kept.append(mask)
        self.kept = {identity(each) for each in (*(path for path, _ in inputs), *kept)} - {None}
        if taken := [name for name in own if identity(out / name) in self.kept]:
            raise UserError(f"{out / taken[0]}: would be written over, and it is read; choose another --out")
        targets = {Path(name).with_suffix("") for name in own if Path(name).suffix == ".png"}
        self.list: list[Photo] = []
        for path, inside in inputs:
            goes = next(each for each in _targets(inside) if each not in targets)
            targets.add(goes)
            self.list.append(Photo(path, inside, out / goes))

    def refuse_to_write_over(self, photo: Photo, samples: int) -> None:
        """Raises UserError where a result of it would go over what is read."""
        if any(identity(each) in self.kept for each in photo.files(samples)):
            raise UserError("the result would be written over a photo or mask; choose another --out")

    def mask_of(self, photo: Photo) -> Path | None:
        """The mask itself, or the one in the folder that has the photo's name. Raises UserError where there is none."""
        if self.mask is None or not self.mask.is_dir():
            return self.mask
        for where in (photo.inside.with_suffix(""), Path(photo.path.stem)):
            if where in self.masks:
                return self.masks[where]
        raise UserError(f"{self.mask} holds no mask {photo.path.stem}.*")


def _targets(inside: Path) -> Iterator[Path]:
    """Where the result of a photo may go, the nicest first: a.jpg and a.png of one folder go to two places."""
    yield inside.with_suffix("")
    yield inside
    for number in count(2):
        yield inside.with_name(f"{inside.name}-{number}")


def identity(path: Path) -> tuple[int, int] | None:
    """What file a path leads to, by whatever name; None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def read_photo(path: Path) -> Tensor:
    """uint8 (C, H, W). Raises UserError with the reason where it cannot be read."""
    try:
        with path.open("rb") as file:
            return torch.from_numpy(read_whole(file).copy()).permute(2, 0, 1)
    except Exception as error:  # decoders meet damaged data with every exception there is
        raise UserError(reason(error)) from None


def with_channels(opaque: Tensor, alpha: Tensor | None, channels: int) -> Tensor:
    """uint8 (1 or 3, H, W) with as many channels as the run's images have. Raises UserError where colours were lost."""
    if channels == 1 and len(opaque) == 3:
        if not (opaque == opaque[:1]).all():
            raise UserError("is in colour, and the run was trained on grey images; make it grey, or train on colour")
        return opaque[:1]
    if channels >= 3:
        opaque = opaque.expand(3, -1, -1)
    if channels == 4:
        opaque = torch.cat([opaque, torch.full_like(opaque[:1], 255) if alpha is None else alpha])
    return opaque


def holes_in(path: Path, size: Sequence[int]) -> Tensor:
    """bool (1, H, W), True where the mask is white. Raises UserError for another size, or no hole at all."""
    try:
        mask = read_photo(path)
    except UserError as error:
        raise UserError(f"mask {path}: {error}") from None
    if mask.shape[1:] != torch.Size(size):
        raise UserError(f"is {size[1]}x{size[0]} and its mask {path} {mask.shape[2]}x{mask.shape[1]} (width x height)")
    opaque = mask[:3] if len(mask) >= 3 else mask[:1]
    holes = opaque.float().mean(0, keepdim=True) > 127
    if not holes.any():
        raise UserError(f"mask {path} has no hole; it is to be white where the photo is to be filled in")
    return holes


def holes_painted(photo: Tensor, colour: str) -> tuple[Tensor, Tensor]:
    """uint8 (C, H, W) whose holes somebody painted over in a colour such as ff00ff: it without, and bool (1, H, W).

    Raises UserError where no pixel has just that colour.
    """
    wanted = torch.tensor(list(bytes.fromhex(colour.removeprefix("#"))), dtype=torch.uint8)[:, None, None]
    opaque = photo[:3] if len(photo) >= 3 else photo[:1].expand(3, -1, -1)
    holes = (opaque == wanted).all(0, keepdim=True)
    if not holes.any():
        raise UserError(f"has no pixel of the colour {colour}: paint over what is to be filled in, without soft edges")
    return torch.where(holes, NEUTRAL, photo).to(torch.uint8), holes


def refuse_other_colour(colour: str) -> None:
    """Raises UserError for what is no colour."""
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", colour):
        raise UserError(f"--mask-colour {colour}: give red, green and blue in hexadecimal, such as ff00ff")
