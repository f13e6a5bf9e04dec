"""A trained model on photos of one's own: from files to files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mulligan.api.photos import (
    holes_in,
    holes_painted,
    identity,
    inputs_of,
    mask_of,
    read_photo,
    refuse_other_colour,
    with_channels,
)
from mulligan.api.runs import Run
from mulligan.core import registry
from mulligan.core.errors import UserError
from mulligan.core.run import write_whole
from mulligan.data.decode import reason
from mulligan.tasks.generation import Task
from mulligan.use.apply import WHOLE, See, applied
from mulligan.use.pictures import as_array, as_image, png
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
    mask_colour: str | None = None,
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
        mask_colour: instead, the colour that somebody painted over the holes of the photos in, such as "ff00ff".
        direction: for a run between two kinds of pictures, which way; by default a2b.
        samples: how many results for each photo, of a generator that hears noise: NAME-1.png, NAME-2.png, …
        seed: of that noise.

    Raises:
        UserError: a run that makes images from nothing, a mask that is missing or not asked for, a direction that was
            not trained, no photos at all.
    """
    if not run.shown:
        raise UserError(f"{run.path}: makes images from nothing; apply needs a run trained with --task")
    if run.shown.mask != (mask is not None or mask_colour is not None):
        where = "fills holes: say where they are with --mask MASK or --mask-colour ff00ff"
        raise UserError(f"{run.path}: {where if run.shown.mask else 'takes no --mask'}")
    if mask is not None and mask_colour is not None:
        raise UserError("--mask and --mask-colour both say where the holes are; give one")
    if mask_colour is not None:
        refuse_other_colour(mask_colour)
    if samples < 1:
        raise UserError(f"--samples {samples}: at least 1")
    if samples > 1 and not torch.Size(run.G.z_shape).numel():
        raise UserError(
            f"--samples {samples}: all would be the same, as this run's generator hears no noise; train with "
            "--set generator.z=16 for several"
        )
    shape = tuple(run.description["data"]["shape"])
    see = _sight(run, run.recipe.task.build(registry.tasks, NoRecords(run.path.name, shape)), direction)
    inputs = list(inputs_of([Path(photo) for photo in photos]))
    if not inputs:
        raise UserError(f"{', '.join(map(str, photos))}: no photos in it")
    read = [path for path, _ in inputs] + ([Path(mask)] if mask is not None and Path(mask).is_file() else [])
    kept = {identity(path) for path in read} - {None}
    result, started, taken = Applied(), time.monotonic(), set()
    with ProgressLine(0, quiet=quiet) as line:
        for index, (path, inside) in enumerate(inputs):
            target = Path(out) / inside.with_suffix("")
            target = target if target not in taken else Path(out) / inside  # a.jpg and a.png of one folder
            taken.add(target)
            names = [f"{target.name}-{k + 1}.png" if samples > 1 else f"{target.name}.png" for k in range(samples)]
            try:
                for k, name in enumerate(names):
                    if identity(target.with_name(name)) in kept:
                        raise UserError("the result would be written over a photo; choose another --out")
                    z = noise_at(seed, k, run.G.z_shape)[None]
                    picture = _made(run, see, path, None if mask is None else mask_of(Path(mask), path), mask_colour, z)
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


def _made(run: Run, see: See, path: Path, mask: Path | None, colour: str | None, z: Tensor) -> bytes:
    """One result, as a PNG."""
    photo, holes = read_photo(path), None
    if mask is not None:
        holes = holes_in(mask, photo.shape[1:])
    elif colour is not None:
        photo, holes = holes_painted(photo, colour)
    opaque, alpha = (photo[:-1], photo[-1:]) if len(photo) in (2, 4) else (photo, None)
    channels = run.description["data"]["shape"][0]
    seen = with_channels(opaque, alpha, channels)
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
    return png(as_image(as_array(made[None])[0]))


def _with_alpha(made: Tensor, alpha: Tensor) -> Tensor:
    """uint8 (C, H, W) with transparency (1, h, w), enlarged if it has to be: (4, H, W)."""
    layer = Image.fromarray(alpha[0].numpy()).resize((made.shape[2], made.shape[1]), Image.Resampling.BICUBIC)
    return torch.cat([made.expand(3, -1, -1), torch.from_numpy(np.asarray(layer).copy())[None]])
