"""Photos as people bring them: files and folders of any size and kind, and masks that go with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.data.decode import read_whole, reason
from mulligan.data.files import list_folder
from mulligan.use.pictures import NEUTRAL


def inputs_of(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Every photo, and where it lies in the folder that was named."""
    for path in paths:
        if path.is_dir():
            for entry in sorted(list_folder(path).entries, key=lambda entry: entry.name):
                yield path / entry.where, Path(entry.where)
        else:
            yield path, Path(path.name)


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


def mask_of(mask: Path, photo: Path) -> Path:
    """The mask itself, or the one in the folder that has the photo's name."""
    if not mask.is_dir():
        return mask
    found = sorted(each for each in mask.iterdir() if each.stem == photo.stem)
    if not found:
        raise UserError(f"{mask} holds no mask {photo.stem}.*")
    return found[0]


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
