"""Photos that users bring: files and folders of images of any size and format, and masks for them."""

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
    """A file, and where its results go."""

    path: Path
    relative: Path  # to the folder that was named
    target: Path  # of the result, without .png and without the number of a sample

    def files(self, samples: int) -> list[Path]:
        """Where its results go: one for each sample."""
        ends = [f"-{k + 1}.png" for k in range(samples)] if samples > 1 else [".png"]
        return [self.target.with_name(self.target.name + end) for end in ends]

    @property
    def name(self) -> str:
        return printable(str(self.path))


class Photos:
    """Files that are read, and where results are written: never over a file that is read, nor over another result.

    Where `out` is inside a folder of photos, what lies in it is not read. `own` are names of files in `out` that are
    no result of a single photo. Raises UserError where there are no photos, or `out` cannot be a folder of results.
    """

    def __init__(
        self, named: Sequence[str | Path], out: str | Path, mask: str | Path | None = None, own: Sequence[str] = ()
    ) -> None:
        out, mask = Path(out), None if mask is None else Path(mask)
        existing = next(each for each in (out, *out.parents) if os.path.lexists(each))
        if not existing.is_dir():
            raise UserError(f"{existing}: is a file; --out takes a folder")
        if mask is not None and not mask.exists():
            raise UserError(f"{mask}: no such mask, neither a file nor a folder")
        self.mask = mask
        self.failed: list[tuple[str, str]] = []  # files that cannot be photos, and why
        inputs: list[tuple[Path, Path]] = []  # a photo, and its path in the folder that was named
        others: list[Path] = []  # other files that must not be overwritten
        for path in map(Path, named):
            if not path.is_dir():
                inputs.append((path, Path(path.name)))
                continue
            if path.resolve() == out.resolve():
                raise UserError(f"{out}: is the folder of the photos; choose another --out")
            listing, results, folder = list_folder(path), out.resolve(), path.resolve()
            names = sorted(Path(entry.where) for entry in listing.entries)
            inputs += [(path / each, each) for each in names if not (folder / each).is_relative_to(results)]
            bad = [(path / name, why) for name, why in listing.bad if not (folder / name).is_relative_to(results)]
            self.failed += [(printable(str(each)), why) for each, why in bad]
            others += [each for each, _ in bad]
        if not inputs and not self.failed:
            raise UserError(f"{', '.join(map(str, named))}: no photos in it")
        self.masks: dict[Path, Path] = {}  # those of a folder, by their path in it without the suffix
        if mask is not None and mask.is_dir():
            for name in sorted(Path(entry.where) for entry in list_folder(mask).entries):
                self.masks.setdefault(name.with_suffix(""), mask / name)
                others.append(mask / name)
        elif mask is not None:
            others.append(mask)
        self.inputs = {identity(each) for each in (*(path for path, _ in inputs), *others)} - {None}
        if taken := [name for name in own if identity(out / name) in self.inputs]:
            raise UserError(f"{out / taken[0]}: would be overwritten, and it is read; choose another --out")
        targets = {Path(name).with_suffix("") for name in own if Path(name).suffix == ".png"}
        self.list: list[Photo] = []
        for path, relative in inputs:
            target = next(each for each in _targets(relative) if each not in targets)
            targets.add(target)
            self.list.append(Photo(path, relative, out / target))

    def refuse_overwriting(self, photo: Photo, samples: int) -> None:
        """Raises UserError where a result of it would overwrite a file that is read."""
        if any(identity(each) in self.inputs for each in photo.files(samples)):
            raise UserError("the result would overwrite a photo or mask; choose another --out")

    def mask_of(self, photo: Photo) -> Path | None:
        """The mask itself, or the one in the folder that has the photo's name. Raises UserError where there is none."""
        if self.mask is None or not self.mask.is_dir():
            return self.mask
        for name in (photo.relative.with_suffix(""), Path(photo.path.stem)):
            if name in self.masks:
                return self.masks[name]
        raise UserError(f"{self.mask} holds no mask {photo.path.stem}.*")


def _targets(relative: Path) -> Iterator[Path]:
    """Where the result of a photo may go, the best first: a.jpg and a.png of one folder need two names."""
    yield relative.with_suffix("")
    yield relative
    for number in count(2):
        yield relative.with_name(f"{relative.name}-{number}")


def identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to, under any name; None where there is none."""
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
    except Exception as error:  # decoders raise any exception on damaged data
        raise UserError(reason(error)) from None


def split_alpha(pixels: Tensor) -> tuple[Tensor, Tensor | None]:
    """uint8 (1 to 4, H, W) -> it without its transparency, and that (1, H, W), or None."""
    return (pixels[:-1], pixels[-1:]) if len(pixels) in (2, 4) else (pixels, None)


def with_channels(opaque: Tensor, alpha: Tensor | None, channels: int) -> Tensor:
    """uint8 (1 or 3, H, W), and alpha (1, H, W) or None -> as many channels as the run's images have.

    Raises UserError for a photo in colour where these are grey.
    """
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
        raise UserError(f"mask {path} has no hole; it must be white where the photo is to be filled in")
    return holes


def holes_painted(photo: Tensor, colour: str) -> tuple[Tensor, Tensor]:
    """uint8 (C, H, W) with holes painted over in a colour such as ff00ff -> it with neutral holes, and bool (1, H, W).

    Raises UserError where no pixel has exactly that colour.
    """
    wanted = torch.tensor(list(bytes.fromhex(colour.removeprefix("#"))), dtype=torch.uint8)[:, None, None]
    opaque = photo[:3] if len(photo) >= 3 else photo[:1].expand(3, -1, -1)
    holes = (opaque == wanted).all(0, keepdim=True)
    if not holes.any():
        raise UserError(f"has no pixel of the colour {colour}: paint over what is to be filled in, without soft edges")
    return torch.where(holes, NEUTRAL, photo).to(torch.uint8), holes


def refuse_other_colour(colour: str) -> None:
    """Raises UserError for what is not a colour."""
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", colour):
        raise UserError(f"--mask-colour {colour}: give red, green and blue in hexadecimal, such as ff00ff")
