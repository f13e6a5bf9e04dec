"""A trained generator of images from images, on photos: from files to files."""

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
from mulligan.core.sample import Sample, refuse_other_kind
from mulligan.data.decode import MAX_PIXELS, reason
from mulligan.data.photos import (
    Photo,
    Photos,
    holes_in,
    holes_painted,
    read_photo,
    refuse_other_colour,
    split_alpha,
    with_channels,
)
from mulligan.engine.sampling import noise_at
from mulligan.kinds.pictures import picture_of, png
from mulligan.report.progress import ProgressLine
from mulligan.runs.run import Run
from mulligan.tasks.generation import Task
from mulligan.translate.tiles import WHOLE, ConditionFor, all_applied

Direction = Literal["a2b", "b2a"]
PROBE = 8  # pixels of a side of the photo by which the scale of results is found
CPU_PIXELS = 1 << 15  # of results that a CPU makes at once, of photos that have fewer: more is not faster
MAX_RESULT = 4 * MAX_PIXELS  # pixels
FAILURES = (UserError, OSError, RuntimeError, MemoryError)  # of one photo, which do not stop the others


@dataclass
class Applied:
    """What came of photos."""

    written: list[Path] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)  # photos, and why
    photos: int = 0  # that did not fail
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
    """In place of the data set from which a task is built: it is like the run's, but empty (`generation.Records`)."""

    name: str
    sample: Sample
    classes: list[str] = field(default_factory=list)
    train: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    heldout: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def sides(self) -> tuple[NoRecords, NoRecords]:
        return self, self

    def records(self, indices: np.ndarray) -> Tensor:
        raise AssertionError("there are no records")

    label_of = partners = records


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

    A photo is turned upright, and its transparency kept. One that cannot be used is in `failed`, and the others are
    still made. Files that are read are never overwritten. Small photos of one size go through G together; a result may
    then differ by a grey level from that of its photo alone.

    Args:
        photos: files, and folders, of which all images are taken; results lie in `out` as photos do in their folders.
        mask: for a run that fills holes, an image of the photo's size that is white in them, or a folder of masks, each
            named as its photo.
        mask_colour: instead, the colour with which holes are painted over in the photos, such as "ff00ff".
        direction: for a run between two sets of images, which way; by default a2b.
        samples: how many results for each photo, of a generator that takes noise: NAME-1.png, NAME-2.png, …
        seed: of that noise.

    Raises:
        UserError: a run that makes images from nothing, a mask that is missing or not needed, a direction that was
            not trained, no photos at all.
    """
    refuse_other_kind("apply", {"image"}, run.sample_kind)
    if not run.from_images:
        raise UserError(f"{run.path}: makes images from nothing; apply needs a run trained with --task")
    masked = "mask" in run.condition
    if masked != (mask is not None or mask_colour is not None):
        problem = "fills holes: say where they are with --mask MASK or --mask-colour ff00ff"
        raise UserError(f"{run.path}: {problem if masked else 'takes no --mask'}")
    if mask is not None and mask_colour is not None:
        raise UserError("--mask and --mask-colour both say where the holes are; give one")
    if mask_colour is not None:
        refuse_other_colour(mask_colour)
    if samples < 1:
        raise UserError(f"--samples {samples}: at least 1")
    if samples > 1 and not torch.Size(run.G.z_shape).numel():
        raise UserError(
            f"--samples {samples}: all would be the same, as this run's generator takes no noise; train with "
            "--set generator.z=16 for several"
        )
    task = run.recipe.task.build(registry.tasks, NoRecords(run.path.name, run.sample_kind))
    condition_for = _condition_for(run, task, direction)
    scale, files = _scale(condition_for, run.sample_kind.shape[0]), Photos(photos, out, mask)
    z = torch.stack([noise_at(seed, k, run.G.z_shape) for k in range(samples)])
    started = time.monotonic()
    written: dict[Photo, list[Path]] = {}
    failed: dict[Photo, str] = {}

    def fail(photo: Photo, error: Exception) -> None:
        failed[photo] = " ".join(reason(error).split())

    def readable() -> Iterator[Ready]:
        for photo in files.list:
            try:
                files.refuse_overwriting(photo, samples)
                yield _read(run, photo, files.mask_of(photo), mask_colour, scale)
            except FAILURES as error:
                fail(photo, error)

    def write(photo: Photo, results: list[bytes]) -> None:
        try:
            for path, result in zip(photo.files(samples), results, strict=True):
                write_whole(path, result)
                written.setdefault(photo, []).append(path)
        except OSError as error:
            fail(photo, error)

    most = CPU_PIXELS if run.device.type == "cpu" else WHOLE
    with ProgressLine(0, quiet=quiet) as line:
        for some in _grouped(readable(), most // scale**2 // samples):
            try:
                for photo, results in _results(run, condition_for, some, z, scale, most):
                    write(photo, results)
            except FAILURES as error:
                for each in some:
                    if each.photo not in written and each.photo not in failed:
                        fail(each.photo, error)
            line.count(len(set(written) | set(failed)), len(files.list))
    return Applied(
        [path for photo in files.list for path in written.get(photo, [])],
        files.failed + [(photo.name, failed[photo]) for photo in files.list if photo in failed],
        len(set(written) - set(failed)),
        time.monotonic() - started,
    )


def _condition_for(run: Run, task: Task, direction: Direction | None) -> ConditionFor:
    """What G is given of photos, to go in that direction. Raises UserError where the run cannot."""
    if direction and run.condition.paired:
        raise UserError(f"{run.path}: takes no --direction, which is for runs of --task style")
    if direction != "b2a":
        assert task.condition_for
        return task.condition_for
    if not task.condition_back:
        raise UserError(
            f"{run.path}: was trained only from a to b; --direction b2a needs a recipe that goes both ways, "
            "like restyle or cyclegan, or a run of B A"
        )
    return task.condition_back


def _scale(condition_for: ConditionFor, channels: int) -> int:
    """How much larger results are than photos."""
    probe = torch.zeros(1, channels, PROBE, PROBE)
    return condition_for(probe, probe[:, :1])["image"].shape[2] // PROBE


class Ready(NamedTuple):
    """A photo that was read."""

    photo: Photo
    image: Tensor  # uint8 (C, H, W), with the channels of the run's images
    holes: Tensor | None  # bool (1, H, W)
    alpha: Tensor | None  # uint8 (1, H, W)

    @property
    def pixels(self) -> int:
        return self.image[0].numel()


def _read(run: Run, photo: Photo, mask: Path | None, colour: str | None, scale: int) -> Ready:
    """Raises UserError for a photo or a mask that cannot be used."""
    pixels, holes = read_photo(photo.path), None
    height, width = (side * scale for side in pixels.shape[1:])
    if height * width > MAX_RESULT:
        limit = f"{MAX_RESULT // 10**6} million pixels"
        raise UserError(f"its result, {width}x{height}, would have more than {limit}; crop it")
    if mask is not None:
        holes = holes_in(mask, pixels.shape[1:])
    elif colour is not None:
        pixels, holes = holes_painted(pixels, colour)
    opaque, alpha = split_alpha(pixels)
    if height * width > WHOLE and any(isinstance(each, nn.InstanceNorm2d) for each in run.G.modules()):
        raise UserError(
            f"is too large to be made without tiles, and with instance norm tiles would not match; at most "
            f"{WHOLE // scale**2:,} pixels, or train with --set generator.norm=none"
        )
    return Ready(photo, with_channels(opaque, alpha, run.sample_kind.shape[0]), holes, alpha)


def _grouped(photos: Iterable[Ready], most: int) -> Iterator[list[Ready]]:
    """Groups of photos of one size, of up to `most` pixels; at most `WHOLE` pixels wait for others of their size."""
    waiting: dict[torch.Size, list[Ready]] = {}
    for photo in photos:
        same = waiting.setdefault(photo.image.shape, [])
        same.append(photo)
        if (len(same) + 1) * photo.pixels > most:
            yield waiting.pop(photo.image.shape)
        elif sum(each.pixels for group in waiting.values() for each in group) > WHOLE:
            yield from waiting.values()
            waiting.clear()
    yield from waiting.values()


def _results(
    run: Run, condition_for: ConditionFor, photos: list[Ready], z: Tensor, scale: int, most: int
) -> Iterator[tuple[Photo, list[bytes]]]:
    """Of photos of one size the results as PNG, one for each row of noise; as many at once as have `most` pixels."""
    jobs = [(each, k) for each in photos for k in range(len(z))]
    size = max(1, most // scale**2 // photos[0].pixels)
    done: list[bytes] = []
    for some in (jobs[start : start + size] for start in range(0, len(jobs), size)):
        holes = [each.holes for each, _ in some if each.holes is not None]
        made = all_applied(
            run.G, torch.stack([each.image for each, _ in some]), torch.stack(holes) if holes else None,
            condition_for=condition_for, z=z[[k for _, k in some]], scale=scale, device=run.device,
        )  # fmt: skip
        for (each, k), result in zip(some, made, strict=True):
            done.append(_as_png(result, each.alpha, len(each.image)))
            if k == len(z) - 1:
                yield each.photo, done
                done = []


def _as_png(made: Tensor, alpha: Tensor | None, channels: int) -> bytes:
    """uint8 (C, H, W) of a run whose images have so many channels, as transparent as the photo was."""
    if channels == 4 and alpha is None:
        made = made[:3]
    elif channels < 4 and alpha is not None:
        made = _with_alpha(made, alpha)
    return png(picture_of(made))


def _with_alpha(made: Tensor, alpha: Tensor) -> Tensor:
    """uint8 (C, H, W) and the photo's transparency (1, h, w), enlarged to the result's size: (4, H, W)."""
    layer = Image.fromarray(alpha[0].numpy()).resize((made.shape[2], made.shape[1]), Image.Resampling.BICUBIC)
    return torch.cat([made.expand(3, -1, -1), torch.from_numpy(np.asarray(layer).copy())[None]])
