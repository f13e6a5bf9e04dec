"""A trained model on photos of one's own: from files to files."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mulligan.core import registry
from mulligan.core.errors import UserError
from mulligan.core.run import write_whole
from mulligan.data.decode import MAX_PIXELS, reason
from mulligan.data.photos import (
    Photo,
    Photos,
    holes_in,
    holes_painted,
    read_photo,
    refuse_other_colour,
    with_channels,
)
from mulligan.engine.sampling import noise_at
from mulligan.kinds.pictures import as_array, as_image, png
from mulligan.report.progress import ProgressLine
from mulligan.runs.run import Run
from mulligan.tasks.generation import Task
from mulligan.translate.tiles import WHOLE, See, all_applied

Direction = Literal["a2b", "b2a"]
PROBE = 8  # pixels of a side that show how much larger results are
AT_ONCE = 1 << 15  # pixels of results that a CPU makes at once, where a photo has fewer: with more it is no faster
MOST = 4 * MAX_PIXELS  # of a result
FAILURES = (UserError, OSError, RuntimeError, MemoryError)  # of one photo, which do not stop the others


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
    Nothing that is read is ever written over. Small photos of one size go through G together: what is made of one may
    then differ, by a grey level, from what is made of it alone.

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
    scale, where = _scale(see, shape[0]), Photos(photos, out, mask)
    z = torch.stack([noise_at(seed, k, run.G.z_shape) for k in range(samples)])
    started = time.monotonic()
    written: dict[Photo, list[Path]] = {}
    failed: dict[Photo, str] = {}

    def fail(photo: Photo, error: Exception) -> None:
        failed[photo] = " ".join(reason(error).split())

    def readable() -> Iterator[Ready]:
        for photo in where.list:
            try:
                where.refuse_to_write_over(photo, samples)
                yield _read(run, photo, where.mask_of(photo), mask_colour, scale)
            except FAILURES as error:
                fail(photo, error)

    def write(photo: Photo, pictures: list[bytes]) -> None:
        try:
            for path, picture in zip(photo.files(samples), pictures, strict=True):
                write_whole(path, picture)
                written.setdefault(photo, []).append(path)
        except OSError as error:
            fail(photo, error)

    most = AT_ONCE if run.device.type == "cpu" else WHOLE
    with ProgressLine(0, quiet=quiet) as line:
        for some in _together(readable(), most // scale**2 // samples):
            try:
                for photo, pictures in _made(run, see, some, z, scale, most):
                    write(photo, pictures)
            except FAILURES as error:
                for each in some:
                    if each.photo not in written and each.photo not in failed:
                        fail(each.photo, error)
            line.count(len(set(written) | set(failed)), len(where.list))
    return Applied(
        [path for photo in where.list for path in written.get(photo, [])],
        where.failed + [(photo.name, failed[photo]) for photo in where.list if photo in failed],
        len(set(written) - set(failed)),
        time.monotonic() - started,
    )


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


def _scale(see: See, channels: int) -> int:
    """How much larger results are than photos."""
    probe = torch.zeros(1, channels, PROBE, PROBE)
    return see(probe, probe[:, :1]).shape[2] // PROBE


class Ready(NamedTuple):
    """A photo that was read."""

    photo: Photo
    seen: Tensor  # uint8 (C, H, W), with the channels of the run's images
    holes: Tensor | None  # bool (1, H, W)
    alpha: Tensor | None  # uint8 (1, H, W)

    @property
    def pixels(self) -> int:
        return self.seen[0].numel()


def _read(run: Run, photo: Photo, mask: Path | None, colour: str | None, scale: int) -> Ready:
    """Raises UserError for a photo or a mask that cannot be used."""
    pixels, holes = read_photo(photo.path), None
    height, width = (side * scale for side in pixels.shape[1:])
    if height * width > MOST:
        raise UserError(f"its result, {width}x{height}, would have more than {MOST // 10**6} million pixels; crop it")
    if mask is not None:
        holes = holes_in(mask, pixels.shape[1:])
    elif colour is not None:
        pixels, holes = holes_painted(pixels, colour)
    opaque, alpha = (pixels[:-1], pixels[-1:]) if len(pixels) in (2, 4) else (pixels, None)
    if height * width > WHOLE and any(isinstance(each, nn.InstanceNorm2d) for each in run.G.modules()):
        raise UserError(
            f"is too large to be made in one go, and with instance norm tiles of it would not fit together; at most "
            f"{WHOLE // scale**2:,} pixels, or train with --set generator.norm=none"
        )
    return Ready(photo, with_channels(opaque, alpha, run.description["data"]["shape"][0]), holes, alpha)


def _together(photos: Iterable[Ready], most: int) -> Iterator[list[Ready]]:
    """Photos of one size, as many as have `most` pixels together; no more than `WHOLE` pixels wait for their like."""
    waiting: dict[torch.Size, list[Ready]] = {}
    for photo in photos:
        same = waiting.setdefault(photo.seen.shape, [])
        same.append(photo)
        if (len(same) + 1) * photo.pixels > most:
            yield waiting.pop(photo.seen.shape)
        elif sum(each.pixels for group in waiting.values() for each in group) > WHOLE:
            yield from waiting.values()
            waiting.clear()
    yield from waiting.values()


def _made(
    run: Run, see: See, photos: list[Ready], z: Tensor, scale: int, most: int
) -> Iterator[tuple[Photo, list[bytes]]]:
    """Of photos of one size the results, one for each row of noise, as PNG; so many at once as have `most` pixels."""
    turns = [(each, k) for each in photos for k in range(len(z))]
    size = max(1, most // scale**2 // photos[0].pixels)
    done: list[bytes] = []
    for some in (turns[start : start + size] for start in range(0, len(turns), size)):
        seen = torch.stack([each.seen for each, _ in some])
        holes = [each.holes for each, _ in some if each.holes is not None]
        made = all_applied(
            run.G, seen, torch.stack(holes) if holes else None, see=see, z=z[[k for _, k in some]], scale=scale,
            device=run.device,
        )  # fmt: skip
        for (each, k), picture in zip(some, made, strict=True):
            done.append(_finished(picture, each.alpha, len(each.seen)))
            if k == len(z) - 1:
                yield each.photo, done
                done = []


def _finished(made: Tensor, alpha: Tensor | None, channels: int) -> bytes:
    """uint8 (C, H, W) of a run whose images have so many channels, as transparent as the photo was: a PNG."""
    if channels == 4 and alpha is None:
        made = made[:3]
    elif channels < 4 and alpha is not None:
        made = _with_alpha(made, alpha)
    return png(as_image(as_array(made[None])[0]))


def _with_alpha(made: Tensor, alpha: Tensor) -> Tensor:
    """uint8 (C, H, W) with transparency (1, h, w), enlarged if it has to be: (4, H, W)."""
    layer = Image.fromarray(alpha[0].numpy()).resize((made.shape[2], made.shape[1]), Image.Resampling.BICUBIC)
    return torch.cat([made.expand(3, -1, -1), torch.from_numpy(np.asarray(layer).copy())[None]])
