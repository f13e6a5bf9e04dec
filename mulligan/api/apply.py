"""A trained model on photos of one's own: from files to files."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mulligan.api.runs import Run
from mulligan.core import registry
from mulligan.core.errors import UserError
from mulligan.core.run import write_whole
from mulligan.data.decode import read_whole, reason
from mulligan.data.files import list_folder
from mulligan.tasks.generation import Task
from mulligan.use.apply import WHOLE, See, applied
from mulligan.use.pictures import as_array
from mulligan.use.progress import ProgressLine
from mulligan.use.sample import noise_at

Direction = Literal["a2b", "b2a"]
PROBE = 8  # pixels of a side that show how much larger results are


@dataclass
class Applied:
    """What came of it."""

    written: list[Path] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)  # photos, and why
    photos: int = 0  # that went well
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        speed = round(self.photos / self.seconds, 3) if self.seconds else None
        return {
            "written": list(map(str, self.written)),
            "failed": [{"photo": name, "why": why} for name, why in self.failed],
            "photos": self.photos,
            "images_per_second": speed,
        }


@dataclass(frozen=True)
class NoRecords:
    """In place of data where there are photos: a task asks it for nothing but what images it was trained on."""

    name: str
    shape: tuple[int, ...]
    classes: list[str] = field(default_factory=list)

    def images(self, indices: np.ndarray) -> Tensor:
        raise AssertionError("photos are not records")

    label_of = partners = images


def apply(
    run: Run,
    photos: Sequence[str | Path],
    out: str | Path,
    *,
    mask: str | Path | None = None,
    direction: Direction | None = None,
    samples: int = 1,
    seed: int = 0,
    quiet: bool = True,
) -> Applied:
    """What the run's generator makes of photos, of any size, written as PNG into the folder `out`.

    A photo is turned upright, and its transparency kept. One that cannot be used is in `failed`, and others go on.
    Nothing that is read is ever written over.

    Args:
        photos: files, and folders whose images are all meant; results lie in `out` as photos do in their folders.
        mask: for a run that fills holes, an image as large as the photo that is white in them, or a folder of such,
            each by the name of its photo.
        direction: for a run between two kinds of pictures, which way; by default a2b.
        samples: how many results for each photo, of a generator that hears noise: NAME-1.png, NAME-2.png, …
        seed: of that noise.

    Raises:
        UserError: a run that makes images from nothing, a mask that is missing or not asked for, a direction that was
            not trained, no photos at all.
    """
    if not run.shown:
        raise UserError(f"{run.path}: makes images from nothing; apply needs a run trained with --task")
    if run.shown.mask != (mask is not None):
        needs = "fills holes: say where they are with --mask MASK" if run.shown.mask else "takes no --mask"
        raise UserError(f"{run.path}: {needs}")
    if samples < 1:
        raise UserError(f"--samples {samples}: at least 1")
    if samples > 1 and not torch.Size(run.G.z_shape).numel():
        raise UserError(
            f"--samples {samples}: all would be the same, as this run's generator hears no noise; train with "
            "--set generator.z=16 for several"
        )
    shape = tuple(run.description["data"]["shape"])
    see = _sight(run, run.recipe.task.build(registry.tasks, NoRecords(run.path.name, shape)), direction)
    inputs = list(_inputs([Path(photo) for photo in photos]))
    if not inputs:
        raise UserError(f"{', '.join(map(str, photos))}: no photos in it")
    read = [path for path, _ in inputs] + ([Path(mask)] if mask is not None and Path(mask).is_file() else [])
    kept = {_identity(path) for path in read} - {None}
    result, started, taken = Applied(), time.monotonic(), set()
    with ProgressLine(0, quiet=quiet) as line:
        for index, (path, inside) in enumerate(inputs):
            target = Path(out) / inside.with_suffix("")
            target = target if target not in taken else Path(out) / inside  # a.jpg and a.png of one folder
            taken.add(target)
            names = [f"{target.name}-{k + 1}.png" if samples > 1 else f"{target.name}.png" for k in range(samples)]
            try:
                for k, name in enumerate(names):
                    if _identity(target.with_name(name)) in kept:
                        raise UserError("the result would be written over a photo; choose another --out")
                    z = noise_at(seed, k, run.G.z_shape)[None]
                    picture = _made(run, see, path, None if mask is None else _mask_of(Path(mask), path), z)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    write_whole(target.with_name(name), picture)
                    result.written.append(target.with_name(name))
                result.photos += 1
            except (UserError, OSError, RuntimeError) as error:
                result.failed.append((str(path), " ".join(reason(error).split())))
            line.count(index + 1, len(inputs))
    result.seconds = time.monotonic() - started
    return result


def _sight(run: Run, task: Task, direction: Direction | None) -> See:
    """How photos are shown to G, to go that way. Raises UserError where the run cannot."""
    assert run.shown and task.see
    if direction and not run.shown.unpaired:
        raise UserError(f"{run.path}: takes no --direction, which is for runs of --task style")
    if direction != "b2a":
        return task.see
    if not task.see_back:
        raise UserError(
            f"{run.path}: was trained to go from a to b alone; --direction b2a needs a recipe that goes both ways, "
            "like restyle or cyclegan, or a run of B A"
        )
    return task.see_back


def _inputs(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Every photo, and where it lies in the folder that was named."""
    for path in paths:
        if path.is_dir():
            for entry in sorted(list_folder(path).entries, key=lambda entry: entry.name):
                yield path / entry.where, Path(entry.where)
        else:
            yield path, Path(path.name)


def _identity(path: Path) -> tuple[int, int] | None:
    """What file a path leads to, by whatever name; None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _read(path: Path) -> Tensor:
    """uint8 (C, H, W). Raises UserError with the reason where it cannot be read."""
    try:
        with path.open("rb") as file:
            return torch.from_numpy(read_whole(file).copy()).permute(2, 0, 1)
    except Exception as error:  # decoders meet damaged data with every exception there is
        raise UserError(reason(error)) from None


def _mask_of(mask: Path, photo: Path) -> Path:
    """The mask itself, or the one in the folder that has the photo's name."""
    if not mask.is_dir():
        return mask
    found = sorted(each for each in mask.iterdir() if each.stem == photo.stem)
    if not found:
        raise UserError(f"{mask} holds no mask {photo.stem}.*")
    return found[0]


def _made(run: Run, see: See, path: Path, mask: Path | None, z: Tensor) -> bytes:
    """One result, as a PNG."""
    photo = _read(path)
    opaque, alpha = (photo[:-1], photo[-1:]) if len(photo) in (2, 4) else (photo, None)
    channels = run.description["data"]["shape"][0]
    seen = _with_channels(opaque, alpha, channels)
    holes = None if mask is None else _holes(mask, photo.shape[1:])
    probe = torch.zeros(1, channels, PROBE, PROBE)
    scale = see(probe, probe[:, :1]).shape[2] // PROBE
    if photo[0].numel() * scale**2 > WHOLE and any(isinstance(each, nn.InstanceNorm2d) for each in run.G.modules()):
        raise UserError(
            f"is too large to be made in one go, and with instance norm tiles of it would not fit together; at most "
            f"{WHOLE // scale**2:,} pixels, or train with --set generator.norm=none"
        )
    made = applied(run.G, seen, holes, see=see, z=z, scale=scale, device=run.device)
    if channels == 4 and alpha is None:
        made = made[:3]
    elif channels < 4 and alpha is not None:
        made = _with_alpha(made, alpha)
    array = as_array(made[None])[0]
    file = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(file, "PNG")
    return file.getvalue()


def _with_channels(opaque: Tensor, alpha: Tensor | None, channels: int) -> Tensor:
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


def _holes(path: Path, size: Sequence[int]) -> Tensor:
    """bool (1, H, W), True where the mask is white. Raises UserError for another size, or no hole at all."""
    try:
        mask = _read(path)
    except UserError as error:
        raise UserError(f"mask {path}: {error}") from None
    if mask.shape[1:] != torch.Size(size):
        raise UserError(f"is {size[1]}x{size[0]} and its mask {path} {mask.shape[2]}x{mask.shape[1]} (width x height)")
    opaque = mask[:3] if len(mask) >= 3 else mask[:1]
    holes = opaque.float().mean(0, keepdim=True) > 127
    if not holes.any():
        raise UserError(f"mask {path} has no hole; it is to be white where the photo is to be filled in")
    return holes


def _with_alpha(made: Tensor, alpha: Tensor) -> Tensor:
    """uint8 (C, H, W) with transparency (1, h, w), enlarged if it has to be: (4, H, W)."""
    layer = Image.fromarray(alpha[0].numpy()).resize((made.shape[2], made.shape[1]), Image.Resampling.BICUBIC)
    return torch.cat([made.expand(3, -1, -1), torch.from_numpy(np.asarray(layer).copy())[None]])
